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

    port: int = Field(default=50050, ge=0, le=65_535, description="port; 0: a free port")
    metrics_port: int = Field(
        default=9100, ge=0, le=65_535, description="port of the metrics page; 0: none"
    )
    store: str = Field(
        default="memory://",
        description="address of the session store: redis://, rediss://, unix:// or memory://",
    )
    audio_encoders: str = Field(
        default="localhost:50051", description="addresses of the audio encoders, comma-separated"
    )
    dit_workers: str = Field(
        default="localhost:50052", description="addresses of the DiT workers, comma-separated"
    )
    vae_decoders: str = Field(
        default="localhost:50053", description="addresses of the VAE decoders, comma-separated"
    )
    workers_ca: OptionalFile = Field(
        default=None,
        description="PEM file of authorities of the workers; set: workers are called over TLS only",
    )
    workers_cert: OptionalFile = Field(
        default=None, description="PEM file, certificate presented to workers"
    )
    workers_key: OptionalFile = Field(
        default=None, description="PEM file, private key of workers_cert"
    )
    workers_tls_name: str = Field(
        default="", description="name expected in certificates of workers; empty: their address"
    )
    api_keys: OptionalFile = Field(
        default=None, description="JSON file of API keys; empty: no key is needed"
    )
    owner: str = Field(
        default="",
        description="name of this gateway in the store; empty: host name and random digits",
    )
    max_buffered_s: float = Field(
        default=30.0, gt=1.12, le=600, description="maximum speech buffered per session, seconds"
    )
    max_packet_bytes: int = Field(
        default=640_000,
        ge=1_280,
        le=4_000_000,
        description="maximum size of a packet of speech in bytes",
    )
    send_ahead_s: float = Field(
        default=0.2,
        ge=0,
        le=5,
        description="how long before its due time a frame may be sent, seconds",
    )
    max_portrait_bytes: int = Field(
        default=8 * 2**20,
        gt=0,
        description="maximum size of a portrait file in bytes; less than message_bytes",
    )
    max_portrait_pixels: int = Field(
        default=40_000_000, gt=0, description="maximum number of pixels of a portrait"
    )
    max_lifetime_s: float = Field(
        default=86_400.0, gt=0, description="maximum lifetime of a session, seconds"
    )
    call_timeout_s: float = Field(
        default=20.0,
        gt=0,
        description="timeout of a worker call, seconds; added to the time until its chunk is due",
    )
    chunk_timeout_s: float = Field(
        default=60.0, gt=0, description="timeout of all attempts at one stage of a chunk, seconds"
    )
    interrupt_timeout_s: float = Field(
        default=5.0,
        gt=0,
        description="timeout of an interruption that another gateway carries out, seconds",
    )
    open_timeout_s: float = Field(
        default=10.0, gt=0, description="timeout of the first message of a stream, seconds"
    )
    prompt_timeout_s: float = Field(
        default=20.0, gt=0, description="timeout of encoding a new prompt of a session, seconds"
    )
    idle_loop_chunks: int = Field(
        default=2, ge=1, le=8, description="number of generated chunks that an idle loop repeats"
    )
    idle_loop_bytes: int = Field(
        default=8 * 2**20,
        ge=0,
        description="maximum size of the pictures of an idle loop that a stream keeps, bytes",
    )
    release_timeout_s: float = Field(
        default=5.0,
        gt=0,
        description="timeout of the release of a session when its stream ends, seconds",
    )
    worker_poll_s: float = Field(
        default=1.0, gt=0, le=3_600, description="interval of worker probes, seconds"
    )
    worker_probe_timeout_s: float = Field(
        default=2.0, gt=0, description="timeout of a worker probe, seconds"
    )
    worker_linger_s: float = Field(
        default=90.0,
        ge=0,
        description="how long running calls to a removed worker address may continue, seconds",
    )
    slot_lease_s: float = Field(
        default=60.0,
        gt=0,
        description="lease of the new slot after a session changed its worker, seconds",
    )
    client_heartbeat_s: float = Field(
        default=5.0,
        gt=0,
        le=10,
        description="interval of heartbeats to a client when there are no other messages, seconds",
    )
    heartbeat_s: float = Field(
        default=0.5,
        gt=0,
        le=10,
        description="interval at which an open stream renews its lease in the store, seconds",
    )
    drain_s: float = Field(
        default=10.0, gt=0, description="timeout of handing streams over after SIGTERM, seconds"
    )

    def shown_certificates(self) -> CertificateFiles:
        """Returns the certificate files of channels to workers."""
        names = ("workers_cert", "workers_key", "workers_ca")
        return CertificateFiles(self.workers_cert, self.workers_key, self.workers_ca, names)

    def limits(self) -> GatewayLimits:
        """Returns the settings that are limits."""
        names = (field.name for field in dataclasses.fields(GatewayLimits))
        return GatewayLimits(**{name: getattr(self, name) for name in names})
