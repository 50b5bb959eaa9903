"""The computations of the DiT worker: conditionings of portraits, latents of chunks.

Legend: as in ``commands``; H W pixels.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch

from flashtalk.arrays import FloatArray, Rgb
from flashtalk.engine import Checkpoint, Encoders
from flashtalk.engine.codec import portrait_digest
from flashtalk.engine.denoiser import conditioning_digest
from flashtalk.serving import metrics
from flashtalk.serving.lane import Cancellation
from flashtalk.serving.tracing import span
from services.compute_worker import Loading, MeasureChunk
from services.dit_worker.commands import Keep, Run, Tokens
from services.dit_worker.rank import DenoiseRank, Leader, Spread, whole
from services.pod.group import PodGroup


class DenoiseStage:
    """The transformer of one group (a ``services.compute_worker`` stage).

    Args:
        leader: of the group.
        encoders: of portraits and prompts; the other ranks receive tokens.
        checkpoint: the loaded checkpoint.
        digest: of the weights.
    """

    def __init__(
        self, leader: Leader, encoders: Encoders, checkpoint: Checkpoint, digest: str
    ) -> None:
        self._leader, self._encoders, self._weights_digest = leader, encoders, digest
        self.spec, self.features, self.tokens = (
            checkpoint.spec,
            checkpoint.features,
            checkpoint.tokens,
        )

    def warm_up(self, size_hw: tuple[int, int]) -> MeasureChunk:
        """Computes a first chunk, which continues one latent, and a later one; returns the function
        that measures a chunk."""
        spec = self.spec
        portrait_HWC = np.zeros((*size_hw, 3), np.uint8)
        height, width = spec.latent_size(*size_hw)
        z = np.zeros((1, spec.latent_channels, spec.latent_frames, height, width), np.float32)
        kept = self.embed(portrait_HWC, "", z)
        features = self.features
        rows = np.zeros((features.rows, features.layers, features.width), np.float32)

        def chunk(index: int) -> float:
            motion_z = z[:, :, : spec.motion_latents_for(index)]
            return self.run(Run(kept.digest, 0, index, rows, motion_z), Cancellation())[1]

        for index in range(2):
            chunk(index)
        return partial(chunk, 1)

    def embed(self, portrait_HWC: Rgb, prompt: str, reference_z: FloatArray) -> Keep:
        """A conditioning of a portrait uint8 [H, W, 3] and a prompt, made and kept."""
        begun_s = time.perf_counter()
        name = conditioning_digest(
            portrait_digest(portrait_HWC),
            torch.from_numpy(reference_z),
            prompt,
            self._weights_digest,
        )
        with span("condition"):
            encoded = self._encoders.embed(portrait_HWC, prompt)
            tokens = None if encoded is None else Tokens(*map(_floats, encoded))
            command = Keep(name, tokens, reference_z)
            self._leader.keep(command)
        metrics.WORKER_STAGE_SECONDS.labels("condition").observe(time.perf_counter() - begun_s)
        return command

    def keep(self, command: Keep) -> None:
        """Caches a conditioning of another worker; does nothing if it is already cached."""
        if command.digest not in self._leader.rank.conditionings:
            self._leader.keep(command)

    def run(self, command: Run, cancellation: Cancellation) -> tuple[FloatArray, float]:
        """Latents of a chunk and the seconds that they took; errors as ``DenoiseRank.run``."""
        with span("denoise", {"chunk_index": command.chunk_index}):
            latents, seconds = self._leader.run(command, cancellation)
        metrics.WORKER_STAGE_SECONDS.labels("denoise").observe(seconds)
        return latents, seconds


def loading(
    group: PodGroup,
    conditioning_bytes: int,
    spread: Spread = whole,
    *,
    offload_encoders: bool = False,
) -> Loading[DenoiseStage]:
    """Returns a function that creates the stage of the leader of a group.

    Args:
        group, conditioning_bytes, spread: as in ``DenoiseRank.load``.
        offload_encoders: as in ``load_pipeline``.
    """

    def make(checkpoint: Checkpoint, digest: str) -> DenoiseStage:
        rank = DenoiseRank.load(checkpoint, group, conditioning_bytes, spread)
        encoders = checkpoint.load_encoders(parked=offload_encoders)
        return DenoiseStage(Leader(rank, group), encoders, checkpoint, digest)

    return Loading("dit_worker", make)


def _floats(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return np.ascontiguousarray(array)
