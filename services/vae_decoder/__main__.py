"""``python -m services.vae_decoder``."""

from __future__ import annotations

import sys
from functools import partial

from flashtalk.serving.server import run
from flashtalk.serving.settings import load_settings
from services.compute_worker import ComputeWorker
from services.vae_decoder.servicer import registering
from services.vae_decoder.settings import VaeDecoderSettings
from services.vae_decoder.stage import CodecStage


def main() -> int:
    """0 after a clean stop, 1 after an error, 2 for settings that cannot be used."""
    settings = load_settings(VaeDecoderSettings)
    stage = CodecStage()
    make = partial(ComputeWorker, settings, stage, registering(stage))
    return run("vae_decoder", settings, make)


if __name__ == "__main__":
    sys.exit(main())
