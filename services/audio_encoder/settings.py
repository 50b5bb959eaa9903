"""Settings of the audio encoder, read once from FLASHTALK_AUDIO_ENCODER_... by ``__main__``."""

from __future__ import annotations

from pydantic import Field

from flashtalk.serving.settings import settings_config
from flashtalk.serving.worker import WorkerSettings


class AudioEncoderSettings(WorkerSettings):
    """All settings of the audio encoder."""

    model_config = settings_config("FLASHTALK_AUDIO_ENCODER_")

    port: int = Field(default=50051, ge=0, le=65_535, description="port; 0: a free port")
    metrics_port: int = Field(
        default=9101, ge=0, le=65_535, description="port of the metrics page; 0: none"
    )
    batch_windows: int = Field(
        default=8, ge=1, le=256, description="maximum number of audio windows per batch"
    )
