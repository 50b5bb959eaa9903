"""``python -m services.dit_worker``, or the same module under torchrun: a pod of ranks."""

from __future__ import annotations

import sys
from functools import partial

from flashtalk.serving.server import run
from flashtalk.serving.settings import load_settings
from services.compute_worker import ComputeWorker
from services.dit_worker.pod import Ranks, denoising
from services.dit_worker.servicer import registering
from services.dit_worker.settings import DitWorkerSettings
from services.dit_worker.stage import loading
from services.pod import end_rank, started_as_pod
from services.pod.group import Solo
from services.pod.worker import run_pod


def main() -> int:
    """Returns 0 after a clean stop, 1 after an error, 2 for invalid settings."""
    settings = load_settings(DitWorkerSettings)
    if started_as_pod():
        ranks = Ranks(settings.layout, settings.backend)
        make_role = partial(denoising, settings, ranks)
        end_rank(run_pod("dit_worker", settings, make_role, ranks.exchanges))
    made = loading(Solo(), settings.conditioning_bytes, offload_encoders=settings.offload_encoders)
    make = partial(ComputeWorker, settings, made, registering(made))
    return run("dit_worker", settings, make)


if __name__ == "__main__":
    sys.exit(main())
