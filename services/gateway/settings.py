"""Settings of the gateway, read once from FLASHTALK_GATEWAY_... by ``__main__``."""

from __future__ import annotations

import dataclasses

from pydantic import Field

from flashtalk.serving.certificates import CertificateFiles
from flashtalk.serving.settings import OptionalFile, ServiceSettings, settings_config
from services.gateway.limits import GatewayLimits


class GatewaySettings(ServiceSettings):
    """All settings of the gateway.

    Targets of workers are comma-separated: ``host:port``, or ``dns:///name:port`` for all addresses
    of a name, which is resolved repeatedly.
    """

    model_config = settings_config("FLASHTALK_GATEWAY_")

    port: int = Field(default=50050, ge=0, le=65_535, description="0 takes a free one")
    metrics_port: int = Field(default=9100, ge=0, le=65_535, description="0 opens none")
    store: str = Field(default="memory://", description="redis://, rediss://, unix:// or memory://")
    audio_encoders: str = Field(default="localhost:50051", description="targets")
    dit_workers: str = Field(default="localhost:50052", description="targets")
    vae_decoders: str = Field(default="localhost:50053", description="targets")
    workers_ca: OptionalFile = Field(
        default=None, description="PEM; calls workers over TLS only, believes these"
    )
    workers_cert: OptionalFile = Field(default=None, description="PEM, shown to workers")
    workers_key: OptionalFile = Field(default=None, description="PEM, of workers_cert")
    workers_tls_name: str = Field(default="", description="that certificates of workers carry")
    api_keys: OptionalFile = Field(
        default=None, description="JSON, who may come in; empty: everybody"
    )
    owner: str = Field(default="", description="name of this gateway; empty draws one")
    max_buffered_s: float = Field(
        default=30.0, gt=1.12, le=600, description="speech that a session may have waiting"
    )
    max_packet_bytes: int = Field(
        default=640_000, ge=1_280, le=4_000_000, description="of one packet of speech"
    )
    send_ahead_s: float = Field(
        default=0.2, ge=0, le=5, description="how much earlier than its time a frame may leave"
    )
    max_portrait_bytes: int = Field(
        default=8 * 2**20, gt=0, description="of a portrait's file; less than MESSAGE_BYTES"
    )
    max_portrait_pixels: int = Field(default=40_000_000, gt=0, description="of a portrait")
    max_lifetime_s: float = Field(default=86_400.0, gt=0, description="of a session in all")
    call_timeout_s: float = Field(
        default=20.0, gt=0, description="one call to a worker, beyond its chunk's time"
    )
    chunk_timeout_s: float = Field(
        default=60.0, gt=0, description="all attempts at one stage of a chunk"
    )
    interrupt_timeout_s: float = Field(
        default=5.0, gt=0, description="an interruption that another gateway carries out"
    )
    prompt_timeout_s: float = Field(
        default=20.0, gt=0, description="timeout of encoding a new prompt in mid-session"
    )
    idle_loop_chunks: int = Field(
        default=2, ge=1, le=8, description="generated chunks that an idle loop repeats"
    )
    idle_loop_bytes: int = Field(
        default=8 * 2**20, ge=0, description="limit of the pictures of one stream's idle loop"
    )
    open_timeout_s: float = Field(default=10.0, gt=0, description="the first message of a stream")
    release_timeout_s: float = Field(
        default=5.0, gt=0, description="giving a session back when its stream ends"
    )
    worker_poll_s: float = Field(
        default=1.0, gt=0, le=3_600, description="how often workers are looked at"
    )
    worker_probe_timeout_s: float = Field(default=2.0, gt=0, description="their answer then")
    worker_linger_s: float = Field(
        default=90.0, ge=0, description="calls to a worker that its name no longer stands for"
    )
    slot_lease_s: float = Field(
        default=60.0, gt=0, description="a slot that a session moved to, until it is renewed"
    )
    client_heartbeat_s: float = Field(
        default=5.0, gt=0, le=10, description="how often a client hears of a stream that is quiet"
    )
    heartbeat_s: float = Field(
        default=0.5, gt=0, le=10, description="how often the store hears of an open stream"
    )
    drain_s: float = Field(default=10.0, gt=0, description="to hand streams over after SIGTERM")

    def shown_certificates(self) -> CertificateFiles:
        """Returns the certificate files of channels to workers."""
        names = ("workers_cert", "workers_key", "workers_ca")
        return CertificateFiles(self.workers_cert, self.workers_key, self.workers_ca, names)

    def limits(self) -> GatewayLimits:
        """Returns the settings that are limits."""
        names = (field.name for field in dataclasses.fields(GatewayLimits))
        return GatewayLimits(**{name: getattr(self, name) for name in names})
