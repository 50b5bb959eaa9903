"""``python -m services.audio_encoder``."""

from __future__ import annotations

import sys
from functools import partial

from flashtalk.serving.server import run
from flashtalk.serving.settings import load_settings
from services.audio_encoder.servicer import registering
from services.audio_encoder.settings import AudioEncoderSettings
from services.audio_encoder.stage import loading
from services.compute_worker import ComputeWorker


def main() -> int:
    """Returns 0 after a clean stop, 1 after an error, 2 for invalid settings."""
    settings = load_settings(AudioEncoderSettings)
    made = loading(settings.batch_windows)
    register = registering(made, settings.batch_windows, settings.max_pending)
    return run("audio_encoder", settings, partial(ComputeWorker, settings, made, register))


if __name__ == "__main__":
    sys.exit(main())
