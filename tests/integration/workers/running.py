"""The three workers with a micro model, each behind a port of its own, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from flashtalk.serving.channel import ChannelLimits, open_channel
from flashtalk.serving.interceptor import CallInterceptor
from flashtalk.serving.worker import WorkerSettings
from flashtalk.v1 import audio_encoder_service_pb2_grpc as audio_grpc
from flashtalk.v1 import dit_worker_service_pb2_grpc as dit_grpc
from flashtalk.v1 import vae_decoder_service_pb2_grpc as vae_grpc
from services.audio_encoder.servicer import registering as registering_audio
from services.audio_encoder.settings import AudioEncoderSettings
from services.audio_encoder.stage import loading as loading_audio
from services.compute_worker import ComputeWorker, Loading, Register
from services.dit_worker.servicer import registering as registering_dit
from services.dit_worker.settings import DitWorkerSettings
from services.dit_worker.stage import loading as loading_dit
from services.pod.group import Solo
from services.vae_decoder.servicer import registering as registering_vae
from services.vae_decoder.settings import VaeDecoderSettings
from services.vae_decoder.stage import loading as loading_vae
from tests.fakes.stand_in_workers import add_health
from tests.patience import patient

SIZE = "48x32"
CALL_S = patient(120)
"""Any call: only one that hangs takes so long."""


@dataclass
class Running:
    """A worker and a way to call it."""

    worker: ComputeWorker
    stub: Any
    server: grpc.aio.Server
    target: str


@contextlib.asynccontextmanager
async def running(
    settings: WorkerSettings,
    made: Loading[Any],
    register: Register,
    stub: Any,
    *,
    start: bool = True,
) -> AsyncIterator[Running]:
    worker = ComputeWorker(settings, made, register)
    options = ChannelLimits().server_options()
    server = grpc.aio.server(interceptors=[CallInterceptor()], options=options)
    worker.register(server)
    await add_health(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    target = f"127.0.0.1:{port}"
    channel = open_channel(target)
    try:
        if start:
            await worker.start()
        yield Running(worker, stub(channel), server, target)
    finally:
        await channel.close()
        await server.stop(0)
        await worker.stop()


def audio_worker(
    weights: Path, *, start: bool = True, **settings: Any
) -> contextlib.AbstractAsyncContextManager[Running]:
    given = AudioEncoderSettings(weights=weights, device="cpu", **{"sizes": SIZE, **settings})
    made = loading_audio(given.batch_windows)
    register = registering_audio(made, given.batch_windows, given.max_pending)
    return running(given, made, register, audio_grpc.AudioEncoderServiceStub, start=start)


def dit_worker(weights: Path, **settings: Any) -> contextlib.AbstractAsyncContextManager[Running]:
    given = DitWorkerSettings(weights=weights, device="cpu", **{"sizes": SIZE, **settings})
    made = loading_dit(Solo(), given.conditioning_bytes)
    return running(given, made, registering_dit(made), dit_grpc.DitWorkerServiceStub)


def vae_worker(weights: Path, **settings: Any) -> contextlib.AbstractAsyncContextManager[Running]:
    given = VaeDecoderSettings(weights=weights, device="cpu", **{"sizes": SIZE, **settings})
    made = loading_vae(Solo())
    return running(given, made, registering_vae(made), vae_grpc.VaeDecoderServiceStub)
