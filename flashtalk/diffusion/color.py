"""Colour correction: every frame gets the portrait's Lab mean and deviation (published sampler).

It prevents colour drift in long streams, and is applied before the motion frames are selected and
re-encoded.

Legend: B batch, C the three channels (R G B, X Y Z or L a b), T frames, H W pixels, N = H * W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import DoubleArray, FloatArray
from flashtalk.errors import InputError
from flashtalk.ops.constants import constant

# Linear sRGB to CIE XYZ (IEC 61966-2-1) in units of the D65 white point, and back.
Matrix = tuple[tuple[float, ...], ...]


def _rows(matrix: DoubleArray) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in matrix)


_XYZ = np.array(
    (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    )
) / np.array([[0.95047], [1.0], [1.08883]])
_XYZ_FROM_RGB, _RGB_FROM_XYZ = _rows(_XYZ), _rows(np.linalg.inv(_XYZ))
_LAB_KNEE = 6 / 29
_XYZ_FLOOR = 1e-8
# Lab deviation below which a frame counts as one flat colour: it has no contrast to scale, only
# the rounding error of its mean.
_FLAT = 1e-3


@dataclass(frozen=True, eq=False)
class ReferenceColor:
    """Lab statistics of the portrait; computed once per session.

    Args:
        mean_BC1: [B, 3, 1, 1] float32.
        std_BC1: [B, 3, 1, 1] float32, population deviation.
    """

    mean_BC1: Tensor
    std_BC1: Tensor

    @classmethod
    def of(cls, portrait_BCTHW: Tensor) -> ReferenceColor:
        """Computes the statistics of a portrait.

        Args:
            portrait_BCTHW: [B, 3, 1, H, W] (or [B, 3, H, W]) in [-1, 1].

        Raises:
            InputError: not one RGB frame per sample.
        """
        frame = portrait_BCTHW.unsqueeze(2) if portrait_BCTHW.ndim == 4 else portrait_BCTHW
        if frame.ndim != 5 or frame.shape[1:3] != (3, 1):
            raise InputError("portrait", tuple(portrait_BCTHW.shape), "[B, 3, 1, H, W]")
        mean, std = _statistics(_lab(frame))
        return cls(mean, std)

    @classmethod
    def from_array(cls, statistics_2C: FloatArray) -> ReferenceColor:
        """What ``to_array`` gave, bit for bit.

        Raises:
            InputError: not finite [2, 3], or a negative deviation.
        """
        if statistics_2C.shape != (2, 3):
            raise InputError("color", list(statistics_2C.shape), "[2, 3]")
        if not np.isfinite(statistics_2C).all() or (statistics_2C[1] < 0).any():
            raise InputError("color", statistics_2C.tolist(), "finite, deviations at least 0")
        mean, std = torch.from_numpy(statistics_2C.astype(np.float32)).view(2, 1, 3, 1, 1)
        return cls(mean, std)

    def to_array(self) -> FloatArray:
        """Mean and deviation of L, a, b of a single portrait: float32 [2, 3]."""
        both = torch.stack((self.mean_BC1, self.std_BC1)).float().cpu().numpy()
        return np.ascontiguousarray(both.reshape(2, 3))

    def to(self, device: torch.device | str) -> ReferenceColor:
        """Copies the statistics to another device."""
        return ReferenceColor(self.mean_BC1.to(device), self.std_BC1.to(device))


def match_color(video_BCTHW: Tensor, reference: ReferenceColor, strength: float = 1.0) -> Tensor:
    """Gives every frame the reference's Lab mean and standard deviation.

    Args:
        video_BCTHW: [B, 3, T, H, W], nominally in [-1, 1].
        reference: statistics of the portrait, batch B or 1.
        strength: share of the corrected picture in the result, 0 .. 1; 0 returns the video.

    Returns:
        [B, 3, T, H, W] in the dtype of the video, computed in float32; the corrected picture is in
        [-1, 1].

    Raises:
        InputError: ``strength`` outside 0 .. 1, or not an RGB video.
    """
    if not 0 <= strength <= 1:
        raise InputError("strength", strength, "0 .. 1")
    if video_BCTHW.ndim != 5 or video_BCTHW.shape[1] != 3:
        raise InputError("video", tuple(video_BCTHW.shape), "[B, 3, T, H, W]")
    if strength == 0:
        return video_BCTHW
    lab = _lab(video_BCTHW)
    mean, std = _statistics(lab)
    gain = torch.where(std < _FLAT, 0, reference.std_BC1 / std.clamp_min(_FLAT))
    matched = torch.unflatten(
        _rgb((lab - mean) * gain + reference.mean_BC1), -1, video_BCTHW.shape[3:]
    )
    return torch.lerp(video_BCTHW.float(), matched, strength).to(video_BCTHW.dtype)


class MatchColor(Protocol):
    """``match_color``, eager or compiled."""

    def __call__(
        self, video_BCTHW: Tensor, reference: ReferenceColor, strength: float = 1.0
    ) -> Tensor:
        """Returns [B, C, T, H, W]; arguments as in ``match_color``."""


def lab_from_rgb(video_BCTHW: Tensor) -> Tensor:
    """Converts sRGB pixels in [-1, 1] to CIE Lab (L in 0 .. 100): [B, 3, T, H, W] float32."""
    return torch.unflatten(_lab(video_BCTHW), -1, video_BCTHW.shape[3:])


def rgb_from_lab(lab_BCTHW: Tensor) -> Tensor:
    """Converts CIE Lab to sRGB pixels in [-1, 1], out-of-gamut colours clipped: [B, 3, T, H, W]."""
    return torch.unflatten(_rgb(lab_BCTHW.flatten(3)), -1, lab_BCTHW.shape[3:])


def _statistics(lab_BCTN: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and population deviation of every frame, each [B, 3, T, 1]."""
    variance, mean = torch.var_mean(lab_BCTN, dim=-1, correction=0, keepdim=True)
    return mean, variance.sqrt()


def _lab(video_BCTHW: Tensor) -> Tensor:
    """[B, 3, T, H, W] in [-1, 1] to Lab [B, 3, T, N]."""
    # Not clamped: the LTX decoder's frames leave the range, and their statistics are of all of it.
    rgb = ((video_BCTHW.float() + 1) / 2).flatten(3)
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mix(_XYZ_FROM_RGB, linear).clamp(_XYZ_FLOOR, 1)
    slope = 3 * _LAB_KNEE**2
    x, y, z = torch.where(xyz > _LAB_KNEE**3, xyz ** (1 / 3), xyz / slope + 4 / 29).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def _rgb(lab_BCTN: Tensor) -> Tensor:
    """Lab [B, 3, T, N] to pixels [B, 3, T, N] in [-1, 1]."""
    lightness, a, b = lab_BCTN.unbind(1)
    y = (lightness + 16) / 116
    f = torch.stack((y + a / 500, y, y - b / 200), dim=1)
    # Not clamped to XYZ's range: an out-of-gamut colour is clipped once, as RGB.
    xyz = torch.where(f > _LAB_KNEE, f**3, 3 * _LAB_KNEE**2 * (f - 4 / 29))
    linear = _mix(_RGB_FROM_XYZ, xyz)
    bright = 1.055 * linear.clamp_min(_XYZ_FLOOR) ** (1 / 2.4) - 0.055
    rgb = torch.where(linear > 0.0031308, bright, 12.92 * linear)
    return rgb.clamp(0, 1) * 2 - 1


def _mix(matrix_DC: Matrix, x_BCTN: Tensor) -> Tensor:
    """Applies the 3x3 ``matrix_DC`` to the channels of [B, 3, T, N]."""
    if torch.compiler.is_compiling():
        # Python numbers: one fused kernel, and no transfer to the device.
        channels = x_BCTN.unbind(1)
        rows = [
            sum(weight * channel for weight, channel in zip(row, channels, strict=True))
            for row in matrix_DC
        ]
        return torch.stack(rows, dim=1)  # type: ignore[arg-type]
    matrix = constant(matrix_DC, x_BCTN)
    return torch.unflatten(matrix @ x_BCTN.flatten(2), -1, x_BCTN.shape[2:])
