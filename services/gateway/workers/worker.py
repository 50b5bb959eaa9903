"""One worker of a gateway: its connection and its reported state."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flashtalk.serving.logs import get_logger
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import audio_encoder_service_pb2_grpc as audio_grpc
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import dit_worker_service_pb2_grpc as dit_grpc
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.v1 import vae_decoder_service_pb2_grpc as vae_grpc
from flashtalk.v1 import worker_pb2
from flashtalk.wire.splice import as_sent

_LOG = get_logger(__name__)
_SERVING = health_pb2.HealthCheckResponse.SERVING

Connect = Callable[[str], grpc.aio.Channel]


class Role(enum.StrEnum):
    """The role of a worker."""

    AUDIO_ENCODER = "audio_encoder"
    DIT_WORKER = "dit_worker"
    VAE_DECODER = "vae_decoder"


class Worker:
    """One worker and the connection to it.

    Attributes:
        info: its reported information, None before the first answer.
        ready: whether the newest probe succeeded and no call has failed since.
        failures: number of this gateway's failed calls to it.
    """

    def __init__(self, role: Role, target: str, channel: grpc.aio.Channel) -> None:
        self.role, self.target = role, target
        self._use(channel)
        self.info: worker_pb2.GetWorkerResponse | None = None
        self.ready = False
        self.failures = 0

    def _use(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.audio = audio_grpc.AudioEncoderServiceStub(channel)
        self.dit = dit_grpc.DitWorkerServiceStub(channel)
        self.vae = vae_grpc.VaeDecoderServiceStub(channel)
        # Calls of every chunk; a request may already be bytes (``flashtalk.wire.splice``).
        self.encode = channel.unary_unary(
            _path(audio_pb2, "AudioEncoderService", "Encode"),
            request_serializer=as_sent,
            response_deserializer=audio_pb2.EncodeResponse.FromString,
        )
        self.denoise = channel.unary_unary(
            _path(dit_pb2, "DitWorkerService", "Denoise"),
            request_serializer=as_sent,
            response_deserializer=dit_pb2.DenoiseResponse.FromString,
        )
        self.decode = channel.unary_stream(
            _path(vae_pb2, "VaeDecoderService", "Decode"),
            request_serializer=as_sent,
            response_deserializer=vae_pb2.DecodeResponse.FromString,
        )

    def connect(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        """Switches calls to another channel; returns the old one, which is not closed."""
        before = self.channel
        self._use(channel)
        return before

    @property
    def worker_id(self) -> str:
        """Returns the name of the process, which changes with a restart."""
        return self.info.worker_id if self.info is not None else ""

    async def probe(self, timeout_s: float) -> None:
        """Probes health and information."""
        stubs = (self.audio, self.dit, self.vae)
        stub: Any = dict(zip(Role, stubs, strict=True))[self.role]
        asked: Any = health_pb2_grpc.HealthStub(self.channel)
        try:
            health = await asked.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
            if health.status == _SERVING:
                request = worker_pb2.GetWorkerRequest()
                self.info = await stub.GetWorker(request, timeout=timeout_s)
            self.ready = health.status == _SERVING
        except grpc.aio.AioRpcError as error:
            if self.ready:
                _LOG.warning(
                    "worker lost", extra={"target": self.target, "code": str(error.code())}
                )
            self.ready = False


def _path(module: Any, service: str, method: str) -> str:
    found = module.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    return f"/{found.containing_service.full_name}/{found.name}"
