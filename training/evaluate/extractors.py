"""The feature networks of VBench's scores, loaded from folders that the user gives.

DINO ViT-B/16 for the subject, CLIP ViT-B/32 for the background (both in the layout of
``transformers``), AMT-S for the motion (a program that ``torch.export``
wrote, as no package ships its code).

Legend: T frames, H W pixels, C colours, D feature numbers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.arrays import FloatArray, Frames, Rgb
from flashtalk.errors import WeightsError

_SIDE_PX = 224
_BATCH = 16
# Means and deviations of the two networks' training data (ImageNet; CLIP's own pictures).
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True)
class SubjectFeatures:
    """Subject-C's features: the class token of DINO ViT-B/16, the shorter side resized to 224."""

    net: Any
    device: torch.device

    @torch.inference_mode()
    def __call__(self, video_THWC: Frames) -> FloatArray:
        """Frames uint8 [T, H, W, 3] -> float32 [T, 768]."""
        parts = []
        for start in range(0, len(video_THWC), _BATCH):
            pixels_TCHW = _resized(video_THWC[start : start + _BATCH], "bilinear", antialias=True)
            seen = self.net(
                pixel_values=_standardised(pixels_TCHW, _IMAGENET).to(self.device),
                interpolate_pos_encoding=True,
            )
            parts.append(seen.last_hidden_state[:, 0].float().cpu())
        return torch.cat(parts).numpy()


@dataclass(frozen=True)
class BackgroundFeatures:
    """BG-C's features: the projected picture embedding of CLIP ViT-B/32.

    The shorter side is resized to 224 without antialiasing and the central square is used.  As in
    VBench, the input is the whole frame, including the person.
    """

    net: Any
    device: torch.device

    @torch.inference_mode()
    def __call__(self, video_THWC: Frames) -> FloatArray:
        """Frames uint8 [T, H, W, 3] -> float32 [T, 512]."""
        parts = []
        for start in range(0, len(video_THWC), _BATCH):
            pixels_TCHW = _resized(video_THWC[start : start + _BATCH], "bicubic", antialias=False)
            square_TCHW = _standardised(_middle(pixels_TCHW.clamp(0, 255)), _CLIP)
            seen = self.net(pixel_values=square_TCHW.to(self.device))
            parts.append(seen.image_embeds.float().cpu())
        return torch.cat(parts).numpy()


@dataclass(frozen=True)
class FilmInterpolator:
    """Motion-S's interpolator: AMT-S as an exported program, ``f(before, after, time) -> between``.

    Inputs are float [1, 3, H, W] in 0..1, padded to whole multiples of 16 pixels; ``time`` is
    0.5 as [1, 1, 1, 1].  A program exported for one size accepts only videos of that size.
    """

    net: Any
    device: torch.device

    @torch.inference_mode()
    def __call__(self, before_HWC: Rgb, after_HWC: Rgb) -> Rgb:
        """The frame between two, uint8 [H, W, 3]."""
        height, width = before_HWC.shape[:2]
        pad = (0, -width % 16, 0, -height % 16)
        pair = [
            F.pad(_tensor(frame[None]) / 255.0, pad, mode="replicate").to(self.device)
            for frame in (before_HWC, after_HWC)
        ]
        time = torch.full((1, 1, 1, 1), 0.5, device=self.device)
        between_1CHW = self.net(*pair, time)[..., :height, :width].float().cpu()
        pixels_1CHW = (between_1CHW * 255.0).round().clamp(0, 255).to(torch.uint8)
        between: Rgb = pixels_1CHW[0].permute(1, 2, 0).numpy()
        return between


def open_subject_features(folder: Path, *, device: str = "cpu") -> SubjectFeatures:
    """Loads DINO from a ``transformers`` folder (facebook/dino-vitb16 is the converted original).

    Raises:
        WeightsError: the folder does not contain a ViT.
    """
    from transformers import ViTModel

    return SubjectFeatures(*_open(ViTModel, folder, device, add_pooling_layer=False))


def open_background_features(folder: Path, *, device: str = "cpu") -> BackgroundFeatures:
    """Loads CLIP from a ``transformers`` folder (openai/clip-vit-base-patch32).

    Raises:
        WeightsError: the folder does not contain a CLIP.
    """
    from transformers import CLIPVisionModelWithProjection

    return BackgroundFeatures(*_open(CLIPVisionModelWithProjection, folder, device))


def open_interpolator(file: Path, *, device: str = "cpu") -> FilmInterpolator:
    """Loads AMT-S from a ``.pt2`` file (``torch.export.save``).

    Raises:
        WeightsError: the file is missing or not an exported program.
    """
    if not file.is_file():
        raise WeightsError(f"no interpolation network at {file}")
    place = torch.device(device)
    try:
        net = torch.export.load(file).module()
    except (RuntimeError, ValueError, KeyError, OSError, BadZipFile) as error:
        raise WeightsError(f"{file}: {error}") from error
    return FilmInterpolator(net.to(place), place)


def _open(kind: Any, folder: Path, device: str, **options: Any) -> tuple[Any, torch.device]:
    if not (folder / "config.json").is_file():
        raise WeightsError(f"no network at {folder}: config.json is missing")
    place = torch.device(device)
    try:
        net, found = kind.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, **options
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{folder}: {error}") from error
    if found["missing_keys"]:
        # transformers would fill them with random numbers and only log it.
        raise WeightsError(f"{folder}: no weights for {sorted(found['missing_keys'])[:3]}")
    return net.to(place).eval().requires_grad_(False), place


def _tensor(video_THWC: Frames) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(video_THWC)).permute(0, 3, 1, 2).float()


def _resized(video_THWC: Frames, mode: str, *, antialias: bool) -> Tensor:
    """The shorter side at 224 pixels, float [T, 3, h, w] in 0..255."""
    height, width = video_THWC.shape[1:3]
    scale = _SIDE_PX / min(height, width)
    size = (max(_SIDE_PX, int(height * scale)), max(_SIDE_PX, int(width * scale)))
    return F.interpolate(
        _tensor(video_THWC), size, mode=mode, antialias=antialias, align_corners=False
    )


def _middle(pixels_TCHW: Tensor) -> Tensor:
    top = (pixels_TCHW.shape[2] - _SIDE_PX) // 2
    left = (pixels_TCHW.shape[3] - _SIDE_PX) // 2
    return pixels_TCHW[:, :, top : top + _SIDE_PX, left : left + _SIDE_PX]


def _standardised(
    pixels_TCHW: Tensor, population: tuple[tuple[float, ...], tuple[float, ...]]
) -> Tensor:
    mean_C11, std_C11 = (torch.tensor(numbers).view(3, 1, 1) for numbers in population)
    return (pixels_TCHW / 255.0 - mean_C11) / std_C11
