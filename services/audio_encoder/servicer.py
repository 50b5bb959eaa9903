"""The calls of the audio encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from flashtalk.arrays import FloatArray
from flashtalk.serving.epochs import EpochGuard
from flashtalk.serving.lane import ComputeLane
from flashtalk.serving.worker import WorkerCard, deadline_s
from flashtalk.streaming import Pcm
from flashtalk.v1 import audio_encoder_service_pb2 as pb
from flashtalk.v1 import audio_encoder_service_pb2_grpc as pb_grpc
from flashtalk.v1 import worker_pb2
from flashtalk.wire import tensor_from_proto, tensor_to_proto
from services.audio_encoder.batching import WindowBatcher
from services.audio_encoder.stage import AudioStage
from services.compute_worker import Loading, Register

SERVICE = pb.DESCRIPTOR.services_by_name["AudioEncoderService"].full_name


def registering(loading: Loading[AudioStage], batch_windows: int, max_pending: int) -> Register:
    """Returns the function that adds the service of a stage to a server."""

    def register(server: grpc.aio.Server, lane: ComputeLane, card: WorkerCard) -> str:
        def encode(windows: Sequence[Pcm]) -> list[FloatArray]:
            return loading.stage.encode(windows)

        batcher = WindowBatcher(lane, encode, batch_windows, max_pending)
        servicer = AudioServicer(loading, batcher, card)
        pb_grpc.add_AudioEncoderServiceServicer_to_server(servicer, server)
        return SERVICE

    return register


class AudioServicer(pb_grpc.AudioEncoderServiceServicer):
    """Serves calls; the only state of a session is its epoch."""

    def __init__(
        self, loading: Loading[AudioStage], batcher: WindowBatcher, card: WorkerCard
    ) -> None:
        self._loading, self._batcher, self._card = loading, batcher, card
        self._epochs = EpochGuard()

    async def Encode(self, request: pb.EncodeRequest, context: Any) -> pb.EncodeResponse:
        """Returns speech features of windows; INVALID_ARGUMENT for windows of another length."""
        self._card.check_ready()
        self._epochs.check(request.key)
        samples = self._loading.stage.spec.window_samples
        pcm_S = tensor_from_proto(request.pcm, field="pcm", shape=(samples,))
        rows_RLD, compute_s = await self._batcher.encode(pcm_S, deadline_s(context))
        return pb.EncodeResponse(features=tensor_to_proto(rows_RLD), compute_s=compute_s)

    async def GetWorker(
        self, request: worker_pb2.GetWorkerRequest, context: Any
    ) -> worker_pb2.GetWorkerResponse:
        """Returns the description and the load of this worker."""
        self._card.check_ready()
        return self._card.describe(self._batcher.pending)
