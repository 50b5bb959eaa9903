"""The computation of the VAE decoder: portraits to latents, chunks to frames and motion latents.

Legend: H W pixels, h w latent size, T frames.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import FloatArray, Frames, Rgb
from flashtalk.engine import Reference, StageClock
from flashtalk.serving import metrics
from flashtalk.serving.tracing import span
from flashtalk.streaming import StreamSpec
from services.compute_worker import Loading, MeasureChunk
from services.pod.group import PodGroup
from services.vae_decoder.commands import Decode, Encode
from services.vae_decoder.rank import CodecLeader, CodecRank, Spread, whole


@dataclass(frozen=True, eq=False)
class Decoded:
    """The last result of a chunk: motion latents [1, 16, 2, h, w], and the seconds per stage."""

    motion_z: FloatArray
    seconds: dict[str, float]


class CodecStage:
    """The video VAE of one group (a ``services.compute_worker`` stage).

    Args:
        leader: the leader of the group.
    """

    def __init__(self, leader: CodecLeader) -> None:
        self._leader = leader

    def warm_up(self, size_hw: tuple[int, int]) -> MeasureChunk:
        """Decodes a chunk and its motion latents once; returns the function that measures it."""
        portrait_HWC = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        reference = self.encode_reference(portrait_HWC)
        z, color = reference.z_BCFHW.float().cpu().numpy(), reference.color.to_array()

        def chunk() -> float:
            begun_s = time.perf_counter()
            for _ in self.decode(z, color, self.spec.new_frames):
                pass
            return time.perf_counter() - begun_s

        chunk()
        self.motion(z, color, 1)
        return chunk

    @property
    def spec(self) -> StreamSpec:
        """The stream contract."""
        return self._leader.rank.codec.spec

    def encode_reference(self, portrait_HWC: Rgb) -> Reference:
        """Returns latents and colours of a portrait."""
        clock = self._clock()
        with span("encode_reference"), clock.stage("reference"):
            reference = self._leader.encode(Encode(portrait_HWC))
        _observe(clock)
        return reference

    def decode(
        self, z_BCFHW: FloatArray, color: FloatArray, frames: int
    ) -> Generator[Frames, None, Decoded]:
        """Yields the first ``frames`` frames of a chunk, uint8 [T, H, W, 3], a few at a time."""
        clock = self._clock()
        with span("decode", {"frames": frames}) as current:
            motion_z = yield from self._leader.decode(Decode(z_BCFHW, color, frames), clock)
            current.set_attributes({f"{stage}_s": s for stage, s in clock.timings_s.items()})
        return _end(motion_z, clock)

    def motion(self, z_BCFHW: FloatArray, color: FloatArray, frames: int) -> Decoded:
        """Returns only the motion latents after ``frames`` frames."""
        clock = self._clock()
        with span("motion", {"frames": frames}):
            command = Decode(z_BCFHW, color, frames, motion_only=True)
            motion_z = self._leader.motion(command, clock)
        return _end(motion_z, clock)

    def _clock(self) -> StageClock:
        return StageClock(self._leader.rank.device)


def loading(group: PodGroup, spread: Spread = whole) -> Loading[CodecStage]:
    """Returns the stage of the leader of a group; arguments as ``CodecRank.load``."""
    return Loading(
        "vae_decoder",
        lambda checkpoint, _: CodecStage(
            CodecLeader(CodecRank.load(checkpoint, group, spread), group)
        ),
    )


def _end(motion_z: FloatArray, clock: StageClock) -> Decoded:
    _observe(clock)
    return Decoded(motion_z, dict(clock.timings_s))


def _observe(clock: StageClock) -> None:
    for stage, seconds in clock.timings_s.items():
        metrics.WORKER_STAGE_SECONDS.labels(stage).observe(seconds)
