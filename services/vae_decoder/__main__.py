"""``python -m services.vae_decoder``, or the same module under torchrun: a pod of ranks."""

from __future__ import annotations

import sys
from functools import partial

from flashtalk.serving.server import run
from flashtalk.serving.settings import load_settings
from services.compute_worker import ComputeWorker
from services.pod import end_rank, started_as_pod
from services.pod.group import Solo
from services.pod.worker import run_pod
from services.vae_decoder.pod import Slicing, coding
from services.vae_decoder.servicer import registering
from services.vae_decoder.settings import VaeDecoderSettings
from services.vae_decoder.stage import loading


def main() -> int:
    """Returns 0 after a clean stop, 1 after an error, 2 for invalid settings."""
    settings = load_settings(VaeDecoderSettings)
    if started_as_pod():
        slicing = Slicing(settings)
        end_rank(run_pod("vae_decoder", settings, partial(coding, slicing), slicing.exchanges))
    made = loading(Solo())
    make = partial(ComputeWorker, settings, made, registering(made))
    return run("vae_decoder", settings, make)


if __name__ == "__main__":
    sys.exit(main())
