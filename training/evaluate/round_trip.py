"""True video through the VAE as in a stream: chunk by chunk.

Legend: B batch 1, C 3 colours, T frames, H W pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.arrays import Frames
from flashtalk.errors import WeightsError
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.vae.weights import load_config
from flashtalk.streaming.spec import StreamSpec


class Codec(Protocol):
    """The methods of ``flashtalk.models.vae.VideoVAE`` that are used here."""

    def encode(self, video_BCTHW: Tensor) -> Tensor: ...

    def decode(self, z_BCFHW: Tensor) -> Tensor: ...


@torch.inference_mode()
def through_vae(
    vae: Codec,
    video_THWC: Frames,
    *,
    spec: StreamSpec,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Frames:
    """Encode and decode in chunks of 33 true frames, keeping the last 28 of each.

    The first 5 frames of a chunk are the true ones before it (the first chunk repeats frame 0), so
    the result has the VAE's own error and its own seams, but no errors of the generator.
    """
    new, motion = spec.new_frames, spec.motion_frames
    frames = len(video_THWC)
    chunks: list[Frames] = []
    for start in range(0, frames, new):
        index_T = np.clip(np.arange(start - motion, start + new), 0, frames - 1)
        pixels_THWC = torch.from_numpy(video_THWC[index_T]).to(device)
        chunk_BCTHW = (pixels_THWC.permute(3, 0, 1, 2)[None].float() / 127.5 - 1.0).to(dtype)
        decoded_BCTHW = vae.decode(vae.encode(chunk_BCTHW)).float()
        kept_CTHW = decoded_BCTHW[0, :, motion:]
        pixels = ((kept_CTHW + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        chunks.append(pixels.permute(1, 2, 3, 0).cpu().numpy())
    joined: Frames = np.concatenate(chunks)[:frames]
    return joined


@dataclass(frozen=True)
class VaeOnly:
    """Fills the truth rows; it has no generator."""

    vae: VideoVAE
    spec: StreamSpec

    def through_codec(self, video_THWC: Frames) -> Frames:
        """Returns the frames after encoding and decoding, uint8 [T, H, W, 3]."""
        return through_vae(self.vae, video_THWC, spec=self.spec)


def open_vae(folder: Path, spec: StreamSpec) -> VaeOnly:
    """Loads the VAE of ``folder`` or of its ``vae`` subfolder (config.json, model.safetensors).

    Raises:
        WeightsError: a file is missing or does not fit.
    """
    home = folder / "vae" if (folder / "vae").is_dir() else folder
    vae = VideoVAE(load_config(home))
    try:
        tensors = {k: v.float() for k, v in load_file(home / "model.safetensors").items()}
        vae.load_state_dict(tensors)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{home}: {error}") from error
    return VaeOnly(vae.eval().requires_grad_(False), spec)
