"""What the VAE decoder computes: portraits to latents, chunks to frames and motion latents.

Legend: H W pixels, h w latent size, T frames.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from flashtalk.diffusion.color import ReferenceColor
from flashtalk.engine import Checkpoint, Reference, StageClock, VideoCodec
from flashtalk.serving import metrics
from flashtalk.serving.tracing import span
from flashtalk.streaming import StreamSpec

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Decoded:
    """The end of a chunk: motion latents [1, 16, 2, h, w] and the seconds of every stage."""

    motion_z: Floats
    seconds: dict[str, float]


class CodecStage:
    """The video VAE (a ``services.compute_worker`` stage)."""

    role = "vae_decoder"

    def __init__(self) -> None:
        self._codec: VideoCodec | None = None
        self._strength = 1.0

    def load(self, checkpoint: Checkpoint, digest: str) -> None:
        """See ``Stage``."""
        self._codec = checkpoint.load_codec()
        self._strength = checkpoint.sampling.color_strength

    def warm_up(self, size_hw: tuple[int, int]) -> float:
        """See ``Stage``."""
        portrait_HWC = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        reference = self.encode_reference(portrait_HWC)
        z, color = reference.z_BCFHW.float().cpu().numpy(), reference.color.to_array()
        begun_s = time.perf_counter()
        for _ in self.decode(z, color, self.spec.new_frames):
            pass
        seconds = time.perf_counter() - begun_s
        self.motion(z, color, 1)
        return seconds

    @property
    def spec(self) -> StreamSpec:
        """The stream contract."""
        return self._loaded.spec

    def encode_reference(self, portrait_HWC: Frames) -> Reference:
        """Latents and colours of a portrait."""
        clock = StageClock(self._device)
        with span("encode_reference"), clock.stage("reference"):
            reference = self._loaded.encode_reference(portrait_HWC)
        _observe(clock)
        return reference

    def decode(
        self, z_BCFHW: Floats, color: Floats, frames: int
    ) -> Generator[Frames, None, Decoded]:
        """The first ``frames`` frames of a chunk, uint8 [T, H, W, 3] a few at a time."""
        clock = StageClock(self._device)
        stream = self._loaded.stream(
            torch.from_numpy(z_BCFHW), self._color(color), self._strength,
            frames=frames, clock=clock,
        )  # fmt: skip
        with span("decode", {"frames": frames}) as current:
            motion_z = yield from stream
            current.set_attributes({f"{stage}_s": s for stage, s in clock.timings_s.items()})
        return self._end(motion_z, clock)

    def motion(self, z_BCFHW: Floats, color: Floats, frames: int) -> Decoded:
        """Only the motion latents after that many frames."""
        clock = StageClock(self._device)
        with span("motion", {"frames": frames}):
            motion_z = self._loaded.motion(
                torch.from_numpy(z_BCFHW), self._color(color), self._strength,
                frames=frames, clock=clock,
            )  # fmt: skip
        return self._end(motion_z, clock)

    @property
    def _loaded(self) -> VideoCodec:
        if self._codec is None:
            raise RuntimeError("used before it was loaded")
        return self._codec

    @property
    def _device(self) -> torch.device:
        return next(self._loaded.vae.parameters()).device

    def _color(self, statistics: Floats) -> ReferenceColor:
        return ReferenceColor.from_array(statistics).to(self._device)

    def _end(self, motion_z: torch.Tensor, clock: StageClock) -> Decoded:
        _observe(clock)
        return Decoded(motion_z.float().cpu().numpy(), dict(clock.timings_s))


def _observe(clock: StageClock) -> None:
    for stage, seconds in clock.timings_s.items():
        metrics.WORKER_STAGE_SECONDS.labels(stage).observe(seconds)
