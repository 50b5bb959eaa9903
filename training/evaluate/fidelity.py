"""Measures of the similarity of two videos, and of the steadiness of one.

Legend: T frames, H W pixels, C 3 colours.  Videos are uint8 [T, H, W, 3]; masks are bool [H, W] or
[T, H, W].
"""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from flashtalk.arrays import BoolArray, DoubleArray, FloatArray, Frames, Rgb
from flashtalk.errors import InputError

PSNR_CAP_DB = 60.0  # rounding to 8 bits alone costs this much; equal pictures have no finite PSNR
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# sRGB (D65) to XYZ divided by the white point, IEC 61966-2-1 and CIE 1976.
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    np.float32,
) / np.array([[0.95047], [1.0], [1.08883]], np.float32)


def _linear_light() -> FloatArray:
    """Returns the linear light of every byte of sRGB."""
    srgb = np.arange(256, dtype=np.float32) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


_LINEAR = _linear_light()


def psnr_db(a_THWC: Frames, b_THWC: Frames, mask: BoolArray | None = None) -> float:
    """PSNR in dB over all pixels together, or over those in ``mask`` [H, W] or [T, H, W]."""
    if a_THWC.shape != b_THWC.shape:
        raise InputError("video", a_THWC.shape, f"the shape of the reference, {b_THWC.shape}")
    error_THW = _squared_error(a_THWC, b_THWC)
    if mask is not None:
        error_THW = error_THW[np.broadcast_to(mask, error_THW.shape)]
    return _db(float(error_THW.mean())) if error_THW.size else float("nan")


def psnr_per_frame_db(video_THWC: Frames, reference_HWC: Rgb, mask_HW: BoolArray) -> DoubleArray:
    """PSNR in dB of each frame [T] against one picture, on the pixels of ``mask_HW``."""
    pixels = max(int(mask_HW.sum()), 1)
    errors_T = [
        float((_squared_error(frame, reference_HWC) * mask_HW).sum()) / pixels
        for frame in video_THWC
    ]
    return np.array([_db(error) for error in errors_T], np.float64)


def _squared_error(a: Frames | Rgb, b: Frames | Rgb) -> FloatArray:
    difference = a.astype(np.float32) - b.astype(np.float32)
    # numpy's mean over such a short axis takes four times as long.
    summed = np.einsum("...c,...c->...", difference, difference)
    return np.asarray(summed / np.float32(difference.shape[-1]), np.float32)


def _db(mean_squared_error: float) -> float:
    if mean_squared_error <= 0:
        return PSNR_CAP_DB
    return float(min(PSNR_CAP_DB, 10 * np.log10(255.0**2 / mean_squared_error)))


def sharpness(video_THWC: Frames) -> DoubleArray:
    """Mean absolute luma gradient of each frame [T], 0..255 per pixel; blur lowers it."""
    luma_THW = video_THWC.astype(np.float32) @ _LUMA
    dx = np.abs(np.diff(luma_THW, axis=2)).mean(axis=(1, 2))
    dy = np.abs(np.diff(luma_THW, axis=1)).mean(axis=(1, 2))
    return np.asarray(dx + dy, np.float64)


def lab(rgb: Rgb) -> FloatArray:
    """CIE L*a*b* (D65) of sRGB pixels [..., 3]."""
    xyz = _LINEAR[rgb] @ _TO_XYZ.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def colour_error(
    video_THWC: Frames, reference_HWC: Rgb, mask_HW: BoolArray | None = None
) -> DoubleArray:
    """Returns Delta-E (CIE76) [T] between the mean colours of each frame and of the reference.

    Means are compared, not pixels, so that motion and blur do not count: this measures the colour
    cast of a long stream.  ``mask_HW`` restricts it, preferably to the background.
    """
    keep_HW = np.ones(video_THWC.shape[1:3], np.bool_) if mask_HW is None else mask_HW
    target_C = lab(reference_HWC[keep_HW]).mean(axis=0)
    means_TC = np.stack([lab(frame[keep_HW]).mean(axis=0) for frame in video_THWC])
    return np.asarray(np.linalg.norm(means_TC - target_C, axis=1), np.float64)


def frame_change(video_THWC: Frames) -> DoubleArray:
    """Mean absolute difference [T-1] between each frame and the next, 0..255."""
    changes = [
        float(np.abs(after.astype(np.int16) - before.astype(np.int16)).mean())
        for before, after in pairwise(video_THWC)
    ]
    return np.array(changes, np.float64)


def border_ratio(changes: Iterable[DoubleArray], *, chunk_frames: int) -> float:
    """Change across chunk borders over the change inside chunks, pooled; 1.0 is seamless.

    ``changes`` contains the ``frame_change`` [T-1] of each video.  A border is between frames
    ``chunk_frames*k - 1`` and ``chunk_frames*k`` (28 new frames a chunk in the report).  Frozen
    or one-chunk videos have no ratio: NaN.
    """
    across: list[float] = []
    inside: list[float] = []
    for change_T in changes:
        is_border_T = np.arange(1, len(change_T) + 1) % chunk_frames == 0
        across.extend(change_T[is_border_T])
        inside.extend(change_T[~is_border_T])
    if not across or not inside or np.mean(inside) < 1e-9:
        return float("nan")
    return float(np.mean(across) / np.mean(inside))
