"""The gRPC service of the DiT worker."""

from __future__ import annotations

from functools import partial
from typing import Any

import grpc

from flashtalk.arrays import FloatArray
from flashtalk.errors import InputError
from flashtalk.serving.epochs import EpochGuard
from flashtalk.serving.errors import Reason, ServiceError
from flashtalk.serving.lane import ComputeLane
from flashtalk.serving.worker import WorkerCard, deadline_s
from flashtalk.v1 import dit_worker_service_pb2 as pb
from flashtalk.v1 import dit_worker_service_pb2_grpc as pb_grpc
from flashtalk.v1 import tensor_pb2, worker_pb2
from flashtalk.wire import image_from_proto, tensor_from_proto, tensor_to_proto
from services.compute_worker import Loading, Register
from services.dit_worker.commands import Keep, Run, Tokens
from services.dit_worker.conditionings import ConditioningMissing
from services.dit_worker.stage import DenoiseStage

SERVICE = pb.DESCRIPTOR.services_by_name["DitWorkerService"].full_name
MAX_PROMPT = 2_000
_DIGEST = 64


def registering(loading: Loading[DenoiseStage]) -> Register:
    """Returns a function that adds the service of a stage to a server."""

    def register(server: grpc.aio.Server, lane: ComputeLane, card: WorkerCard) -> str:
        servicer = DitServicer(loading, lane, card)
        pb_grpc.add_DitWorkerServiceServicer_to_server(servicer, server)
        return SERVICE

    return register


class DitServicer(pb_grpc.DitWorkerServiceServicer):
    """Answers calls; caches conditionings by name and remembers the epoch of each session."""

    def __init__(self, loading: Loading[DenoiseStage], lane: ComputeLane, card: WorkerCard) -> None:
        self._loading, self._lane, self._card = loading, lane, card
        self._epochs = EpochGuard()

    async def Condition(self, request: pb.ConditionRequest, context: Any) -> pb.ConditionResponse:
        """Computes the conditioning of a portrait and a prompt, or caches a given one."""
        self._card.check_ready()
        until_s = deadline_s(context)
        kind = request.WhichOneof("source")
        if kind == "portrait":
            embed = self._portrait(request.portrait)
            made = await self._lane.run(lambda _: embed(), until_s)
        elif kind == "conditioning":
            given = self._conditioning(request.conditioning)
            await self._lane.run(lambda _: self._loading.stage.keep(given), until_s)
            return pb.ConditionResponse(conditioning=request.conditioning)
        else:
            raise InputError("source", "none", "must contain a portrait or a conditioning")
        conditioning = pb.Conditioning(
            digest=made.digest, reference_latents=tensor_to_proto(made.reference_z)
        )
        if made.tokens is not None:
            conditioning.image_tokens.CopyFrom(tensor_to_proto(made.tokens.image))
            conditioning.text_tokens.CopyFrom(tensor_to_proto(made.tokens.text))
        return pb.ConditionResponse(conditioning=conditioning)

    async def Denoise(self, request: pb.DenoiseRequest, context: Any) -> pb.DenoiseResponse:
        """Returns latents of one chunk; FAILED_PRECONDITION if the conditioning is not cached."""
        self._card.check_ready()
        self._epochs.check(request.key)
        command = self._command(request)
        try:
            latents, seconds = await self._lane.run(
                partial(self._loading.stage.run, command), deadline_s(context)
            )
        except ConditioningMissing as missing:
            raise ServiceError(
                grpc.StatusCode.FAILED_PRECONDITION, Reason.CONDITIONING_MISSING, str(missing)
            ) from None
        return pb.DenoiseResponse(latents=tensor_to_proto(latents), compute_s=seconds)

    async def GetWorker(
        self, request: worker_pb2.GetWorkerRequest, context: Any
    ) -> worker_pb2.GetWorkerResponse:
        """Reports the worker's properties and load."""
        self._card.check_ready()
        return self._card.describe(self._lane.pending)

    def _portrait(self, source: pb.PortraitSource) -> partial[Keep]:
        portrait_HWC = image_from_proto(source.portrait, "portrait.portrait")
        self._card.check_size("portrait.portrait.size", portrait_HWC.shape[:2])
        if len(source.prompt) > MAX_PROMPT:
            length = f"{len(source.prompt)} characters"
            raise InputError("portrait.prompt", length, f"at most {MAX_PROMPT} characters")
        field = "portrait.reference_latents"
        z = self._reference(source.reference_latents, field)
        if z.shape[3:] != self._loading.stage.spec.latent_size(*portrait_HWC.shape[:2]):
            raise InputError(field, list(z.shape), "must be latents of the portrait's size")
        return partial(self._loading.stage.embed, portrait_HWC, source.prompt, z)

    def _conditioning(self, given: pb.Conditioning) -> Keep:
        if len(given.digest) != _DIGEST or not set(given.digest) <= set("0123456789abcdef"):
            raise InputError(
                "conditioning.digest", given.digest[:80], f"must be {_DIGEST} hexadecimal digits"
            )
        z = self._reference(given.reference_latents, "conditioning.reference_latents")
        return Keep(given.digest, self._tokens(given), z)

    def _tokens(self, given: pb.Conditioning) -> Tokens | None:
        shapes, field = self._loading.stage.tokens, "conditioning.text_tokens"
        if shapes is None:
            for name in ("image_tokens", "text_tokens"):
                if given.HasField(name):
                    limit = f"must be absent: {self._card.preset} uses only portrait and speech"
                    raise InputError(f"conditioning.{name}", "a tensor", limit)
            return None
        image = tensor_from_proto(
            given.image_tokens,
            field="conditioning.image_tokens",
            shape=(1, shapes.image, shapes.image_width),
        )
        text = tensor_from_proto(given.text_tokens, field=field, shape=(1, None, shapes.text_width))
        if text.shape[1] > shapes.max_text:
            raise InputError(field, list(text.shape), f"at most {shapes.max_text} tokens")
        return Tokens(image, text)

    def _reference(self, message: tensor_pb2.Tensor, field: str) -> FloatArray:
        spec = self._loading.stage.spec
        shape = (1, spec.latent_channels, spec.latent_frames, None, None)
        z: FloatArray = tensor_from_proto(message, field=field, shape=shape)
        self._check_latents(field, z)
        return z

    def _command(self, request: pb.DenoiseRequest) -> Run:
        spec, features = self._loading.stage.spec, self._loading.stage.features
        rows = tensor_from_proto(
            request.features,
            field="features",
            shape=(features.rows, features.layers, features.width),
        )
        motion = spec.motion_latents_for(request.key.chunk_index)
        shape = (1, spec.latent_channels, motion, None, None)
        z = tensor_from_proto(request.motion_latents, field="motion_latents", shape=shape)
        self._check_latents("motion_latents", z)
        return Run(request.conditioning_digest, request.seed, request.key.chunk_index, rows, z)

    def _check_latents(self, field: str, z: FloatArray) -> None:
        stride = self._loading.stage.spec.vae_stride_hw
        self._card.check_size(field, (z.shape[3] * stride, z.shape[4] * stride))
