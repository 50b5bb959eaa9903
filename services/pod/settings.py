"""Settings of a worker that may run on several ranks."""

from __future__ import annotations

from pydantic import Field

from flashtalk.serving.worker import WorkerSettings


class PodSettings(WorkerSettings):
    """Settings common to all such workers."""

    silence_s: float = Field(
        default=3.0,
        gt=0.5,
        le=600,
        description="timeout of a rank's heartbeat, seconds; then the pod ends",
    )
    hang_s: float = Field(
        default=4.0,
        gt=0.5,
        le=600,
        description="timeout of progress within a chunk, seconds; then the pod ends",
    )
