"""Settings of the gateway, read once from FLASHTALK_GATEWAY_... by ``__main__``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from flashtalk.serving.settings import ServiceSettings, settings_config


class GatewaySettings(ServiceSettings):
    """All settings of the gateway.

    Targets of workers are comma-separated ``host:port``, or ``dns:///name:port`` for every address
    of a name, resolved again and again.
    """

    model_config = settings_config("FLASHTALK_GATEWAY_")

    port: int = Field(default=50050, ge=0, le=65_535)
    metrics_port: int = Field(default=9100, ge=0, le=65_535)
    store: str = Field(default="memory://", description="redis://, rediss://, unix:// or memory://")
    audio_encoders: str = "localhost:50051"
    dit_workers: str = "localhost:50052"
    vae_decoders: str = "localhost:50053"
    owner: str = Field(default="", description="name of this gateway; empty draws one")
    max_buffered_s: float = Field(default=30.0, gt=1.12, le=600)
    max_packet_bytes: int = Field(default=640_000, ge=1_280, le=4_000_000)
    send_ahead_s: float = Field(default=0.2, ge=0, le=5)
    max_lifetime_s: float = Field(default=86_400.0, gt=0)
    call_timeout_s: float = Field(default=20.0, gt=0)
    chunk_timeout_s: float = Field(default=60.0, gt=0)
    heartbeat_s: float = Field(default=0.5, gt=0, le=10)
    drain_s: float = Field(default=10.0, gt=0)
    port_file: Path | None = None
