"""The performer for a VAE alone.

Legend: T frames, H W pixels.
"""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from flashtalk.arrays import Frames
from flashtalk.errors import WeightsError
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.vae.weights import load_config
from flashtalk.streaming import StreamSpec
from training.evaluate.round_trip import through_vae


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
