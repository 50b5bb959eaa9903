"""Pixels to latents and back for the chunk loop (published chunk loop; report 3.3).

Decoded frames are colour-corrected first, so the frames that are shown and the frames that the next
chunk continues are the same pixels.

Legend: B batch (1), C channels, F latent frames, T video frames, H W pixels or latent size.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import Frames, Rgb
from flashtalk.diffusion.color import MatchColor, ReferenceColor, match_color
from flashtalk.diffusion.condition import reference_clip, still_clip
from flashtalk.engine.compiled import compile_vae, compiled_colors
from flashtalk.engine.frame_transfer import LeavingFrames, send_frames
from flashtalk.engine.inference_form import lay_out_weights
from flashtalk.engine.stage_clock import StageClock
from flashtalk.errors import InputError
from flashtalk.models.ltx_vae.model import LtxVae
from flashtalk.models.vae.history import VAEState
from flashtalk.models.vae.model import VideoVAE
from flashtalk.streaming import StreamSpec


@dataclass(frozen=True, eq=False)
class Reference:
    """An encoded portrait; computed once per session.

    Args:
        digest: hex digest of its pixels.
        size_hw: height and width in pixels.
        z_BCFHW: [1, 16, 9, h, w] float32 latents of the portrait followed by mid-grey frames, or
            of the portrait in every frame; the first is the portrait alone, because the encoder is
            causal.
        color: its Lab statistics.
    """

    digest: str
    size_hw: tuple[int, int]
    z_BCFHW: Tensor
    color: ReferenceColor


def portrait_digest(portrait_HWC: Rgb) -> str:
    """Hex name of a picture: its size and its pixels."""
    height, width = portrait_HWC.shape[:2]
    return hashlib.sha256(f"{height}x{width}".encode() + portrait_HWC.tobytes()).hexdigest()


def pixels(rgb_HWC: Rgb, device: torch.device) -> Tensor:
    """uint8 [H, W, 3] to [1, 3, H, W] float32 in [-1, 1]."""
    scaled = torch.from_numpy(np.ascontiguousarray(rgb_HWC)).to(device).float() / 255
    return ((scaled - 0.5) * 2).permute(2, 0, 1)[None]


AnyVAE = VideoVAE | LtxVae
"""The VAEs of the presets; ``VideoVAE`` also decodes a chunk in parts."""


def _has_frames(z_BCFHW: Tensor) -> bool:
    return z_BCFHW.shape[2] > 0


class VideoCodec:
    """The VAE and the bookkeeping of chunks. Stateless.

    Args:
        vae: in evaluation mode on its device.
        spec: spec of the stream.
        compiled_colors: a compiled ``match_color``, used with a compiled VAE. Then a shortened
            chunk is computed in full: every other length would be compiled in the middle of a
            stream.
        still: the network's second input is the portrait in every frame of a chunk, instead of the
            portrait followed by grey.
        autocast: compute dtype of the VAE if its weights have another; ``None``: the weights'.
    """

    def __init__(
        self,
        vae: AnyVAE,
        spec: StreamSpec,
        compiled_colors: MatchColor | None = None,
        *,
        still: bool = False,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.vae = vae
        self.spec = spec
        self._match: MatchColor = compiled_colors or match_color
        self._fixed_shapes = compiled_colors is not None
        self._still = still
        self._autocast = autocast

    @torch.inference_mode()
    def encode_reference(self, portrait_HWC: Rgb) -> Reference:
        """Latents and colours of a portrait.

        Args:
            portrait_HWC: uint8 [H, W, 3] at the size of the video.

        Raises:
            InputError: not such a picture, or a side that is not divisible by the network's stride.
        """
        if portrait_HWC.ndim != 3 or portrait_HWC.shape[2] != 3 or portrait_HWC.dtype != np.uint8:
            raise InputError("portrait", list(portrait_HWC.shape), "uint8 [height, width, 3]")
        height, width = portrait_HWC.shape[:2]
        self.spec.latent_size(height, width)
        portrait_BCHW = pixels(portrait_HWC, self._weight.device)
        return Reference(
            digest=portrait_digest(portrait_HWC),
            size_hw=(height, width),
            z_BCFHW=self._encode_portrait(portrait_BCHW),
            color=ReferenceColor.of(portrait_BCHW),
        )

    def _encode_portrait(self, portrait_BCHW: Tensor) -> Tensor:
        frames = self.spec.chunk_frames
        if not self._still:
            return self._encode(reference_clip(portrait_BCHW, frames))
        if isinstance(self.vae, VideoVAE):
            return self._encode(still_clip(portrait_BCHW, frames))
        # The LTX encoder repeats the first frame in front: all latents of a still are equal.
        z_BCFHW = self._encode(still_clip(portrait_BCHW, 1))
        return z_BCFHW.expand(-1, -1, self.spec.latent_frames, -1, -1).contiguous()

    @torch.inference_mode()
    def decode(self, z_BCFHW: Tensor) -> Tensor:
        """Decodes a chunk to its new frames: [1, 16, 9, h, w] to [1, 3, 28, H, W] float32.

        The first 5 decoded frames repeat the previous chunk's last frames and are always dropped.
        """
        return self._decode(z_BCFHW)[:, :, self.spec.motion_frames :]

    @torch.inference_mode()
    def correct(self, video_BCTHW: Tensor, reference: Reference, strength: float) -> Tensor:
        """Returns frames in the portrait's colours; ``strength`` from 0 (off) to 1."""
        return self._match(video_BCTHW, reference.color, strength)

    @torch.inference_mode()
    def encode_motion(self, video_BCTHW: Tensor) -> Tensor:
        """Encodes the last 5 frames, which the next chunk continues: [1, 16, 2, h, w] float32."""
        return self._encode(video_BCTHW[:, :, -self.spec.motion_frames :])

    def stream(
        self,
        z_BCFHW: Tensor,
        color: ReferenceColor,
        strength: float,
        *,
        frames: int | None = None,
        clock: StageClock | None = None,
    ) -> Generator[Frames, None, Tensor]:
        """Decodes in two parts, so that the first frames are sent before the others are decoded.

        In total a little slower than ``decode``, but the first frame is much earlier, and four
        frames of video are longer than the decoding of the rest. A VAE whose decoder is not causal
        decodes once, always the whole chunk. Frames and motion latents equal
        those of ``decode`` up to rounding: the order of sums can depend on the length.

        Args:
            z_BCFHW: [1, 16, 9, h, w], one chunk.
            color: statistics of the portrait (``Reference.color``).
            strength: of the colour correction, 0 to 1.
            frames: number of the chunk's frames to show, 1 to 28; ``None``: all.
            clock: collects the times of ``decode``, ``color`` and ``motion``.

        Yields:
            uint8 [T, H, W, 3], colours corrected: up to 4 frames, then the others.

        Returns:
            Motion latents [1, 16, 2, h, w] of the 5 frames that end with the last one shown: of
            the 33 decoded frames those from ``frames`` to ``frames + 4``. For 28 they are those
            of ``encode_motion``.

        Raises:
            InputError: latents of another shape, or an invalid number of frames.
        """
        device = self._weight.device
        shown, times = self._shown(z_BCFHW, frames), clock or StageClock(device)
        # A GPU gets the work of the next part before the host waits for the frames of this one.
        # On a CPU the call itself computes.
        ahead = 1 if device.type == "cuda" else 0
        leaving: deque[LeavingFrames] = deque()
        newest: list[Tensor] = []
        colors = partial(self._match, reference=color, strength=strength)
        begin = min(shown, self.spec.motion_frames)
        for first, corrected in self._decoded(z_BCFHW, begin, shown, colors, times):
            with times.stage("color"):
                # Frames before index 5 were shown with the previous chunk.
                new = send_frames(corrected[:, :, max(0, self.spec.motion_frames - first) :])
            newest = [*newest, corrected[:, :, -self.spec.motion_frames :]][-2:]
            if len(new):
                leaving.append(new)
            while len(leaving) > ahead:
                yield leaving.popleft().wait()
        with times.stage("motion"):
            motion_z = self.encode_motion(torch.cat(newest, dim=2))
        for last in leaving:
            yield last.wait()
        return motion_z

    def motion(
        self,
        z_BCFHW: Tensor,
        color: ReferenceColor,
        strength: float,
        *,
        frames: int | None = None,
        clock: StageClock | None = None,
    ) -> Tensor:
        """Returns the result of ``stream``, up to rounding, without frames; same arguments."""
        shown, times = self._shown(z_BCFHW, frames), clock or StageClock(self._weight.device)
        colors = partial(self._match, reference=color, strength=strength)
        parts = self._decoded(z_BCFHW, shown, shown, colors, times)
        newest = [corrected for _, corrected in parts]
        with times.stage("motion"):
            return self.encode_motion(torch.cat(newest, dim=2))

    def _shown(self, z_BCFHW: Tensor, frames: int | None) -> int:
        """Checks both arguments; returns the number of frames to show."""
        spec, shape = self.spec, tuple(z_BCFHW.shape)
        if len(shape) != 5 or shape[:3] != (1, spec.latent_channels, spec.latent_frames):
            limit = f"[1, {spec.latent_channels}, {spec.latent_frames}, h, w]"
            raise InputError("latents", shape, limit)
        shown = spec.new_frames if frames is None else frames
        if not 1 <= shown <= spec.new_frames:
            raise InputError("frames", shown, f"1 to {spec.new_frames}")
        return shown

    def _decoded(
        self,
        z_BCFHW: Tensor,
        begin: int,
        shown: int,
        colors: Callable[[Tensor], Tensor],
        clock: StageClock,
    ) -> Iterator[tuple[int, Tensor]]:
        """Decodes the 33 frames from ``begin`` to the end of the motion after ``shown`` new ones,
        in colour-corrected parts: yields the number of the first frame, and [1, 3, T, H, W]."""
        end, first = self.spec.motion_frames + shown, 0
        for video_BCTHW in self._parts(z_BCFHW, end, clock):
            wanted = slice(max(0, begin - first), max(0, end - first))
            if video_BCTHW[:, :, wanted].shape[2]:
                with clock.stage("color"):
                    corrected = self._corrected(video_BCTHW, wanted, colors)
                yield first + wanted.start, corrected
            first += video_BCTHW.shape[2]

    def _parts(self, z_BCFHW: Tensor, end: int, clock: StageClock) -> Iterator[Tensor]:
        """Decodes at least the frames before ``end``: yields consecutive parts, float32."""
        spec, vae = self.spec, self.vae
        if not isinstance(vae, VideoVAE):
            # Every frame depends on all latents: without the last ones it would be another frame.
            with clock.stage("decode"):
                video_BCTHW = self._decode(z_BCFHW)
            yield video_BCTHW
            return
        if not self._fixed_shapes:
            z_BCFHW = z_BCFHW[:, :, : 1 - (1 - end) // spec.vae_stride_t]
        # The motion latents and one more: the minimum that gives new frames.
        least = spec.motion_latents + 1
        state = VAEState()
        for part_BCFHW in filter(_has_frames, z_BCFHW.tensor_split([least], dim=2)):
            with clock.stage("decode"):
                video_BCTHW, state = self._decode_step(vae, part_BCFHW, state)
            yield video_BCTHW

    def _corrected(
        self, video_BCTHW: Tensor, wanted: slice, colors: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Corrects frames separately, before or after the others are dropped."""
        if self._fixed_shapes:
            return colors(video_BCTHW)[:, :, wanted]
        return colors(video_BCTHW[:, :, wanted])

    @property
    def _weight(self) -> Tensor:
        """Returns any weight: its device and dtype are the VAE's."""
        return next(self.vae.parameters())

    def _computing(self) -> AbstractContextManager[object]:
        if self._autocast is None:
            return nullcontext()
        return torch.autocast(self._weight.device.type, self._autocast)

    def _encode(self, video_BCTHW: Tensor) -> Tensor:
        with self._computing():
            return self.vae.encode(video_BCTHW.to(self._weight)).float()

    @torch.inference_mode()
    def _decode(self, z_BCFHW: Tensor) -> Tensor:
        with self._computing():
            return self.vae.decode(z_BCFHW.to(self._weight)).float()

    @torch.inference_mode()
    def _decode_step(
        self, vae: VideoVAE, z_BCFHW: Tensor, state: VAEState
    ) -> tuple[Tensor, VAEState]:
        with self._computing():
            video_BCTHW, state = vae.decode_step(z_BCFHW.to(self._weight), state)
        return video_BCTHW.float(), state


def made_codec(vae: AnyVAE, spec: StreamSpec, *, compiled: bool, still: bool = False) -> VideoCodec:
    """Returns a codec with the VAE in inference form, compiled if required."""
    lay_out_weights(vae)
    if not compiled:
        return VideoCodec(vae, spec, still=still)
    compile_vae(vae)
    return VideoCodec(vae, spec, compiled_colors(), still=still)
