"""A small SyncNet for SynthTalk: five mouth crops and 0.2 s of speech on one unit sphere.

The published network (``published.py``) has 13 million numbers and was trained on broadcast
faces; rendered faces need far less.  The definition of the scores is the same, the scale is not:
distances of unit vectors are in 0..2.

Legend: B windows, N 5 frames, C colours, S side in pixels, D embedding numbers.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from flashtalk.errors import InputError, WeightsError
from flashtalk.validation import validate
from training.evaluate.canvas import MOUTH_CROP_PX
from training.evaluate.syncnet.mfcc import CEPSTRA, WINDOW_FRAMES

DEFAULT_SYNCNET = Path(__file__).parents[3] / "weights" / "syncnet" / "syncnet.safetensors"
PICTURES = 5
_GROUP_CHANNELS = 8
# Digital silence is many deviations away; values beyond these bounds carry no information.
_LOUDEST = 4.0


@dataclass(frozen=True)
class SmallSyncNetConfig:
    """Channel widths of both towers and the size of the shared embedding."""

    picture_widths: tuple[int, ...] = (48, 80, 112)
    speech_widths: tuple[int, ...] = (32, 64, 96)
    hidden: int = 128
    embedding: int = 64


class SmallSyncNet(nn.Module):
    """Two towers with outputs on the unit sphere.  Buffers: mean and deviation of cepstra."""

    def __init__(self, config: SmallSyncNetConfig) -> None:
        super().__init__()
        self.config = config
        side = MOUTH_CROP_PX >> len(config.picture_widths)
        self.pictures = nn.Sequential(
            *_tower(3 * PICTURES, config.picture_widths),
            nn.Flatten(),
            *_head(config.picture_widths[-1] * side * side, config),
        )
        rows, columns = CEPSTRA, WINDOW_FRAMES
        for _ in config.speech_widths:
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        self.speech = nn.Sequential(
            *_tower(1, config.speech_widths),
            nn.Flatten(),
            *_head(config.speech_widths[-1] * rows * columns, config),
        )
        self.mean_C: Tensor
        self.std_C: Tensor
        self.register_buffer("mean_C", torch.zeros(CEPSTRA))
        self.register_buffer("std_C", torch.ones(CEPSTRA))

    def embed_pictures(self, crops_BNCSS: Tensor) -> Tensor:
        """Embeds crops [B, 5, 3, 32, 32] in [-1, 1] as unit vectors [B, D]."""
        # A window less its own mean contains the motion; the identity does not matter.
        still_B1CSS = crops_BNCSS.mean(dim=1, keepdim=True)
        moving_BNCSS = torch.cat([crops_BNCSS[:, :4] - still_B1CSS, still_B1CSS], dim=1)
        return F.normalize(self.pictures(moving_BNCSS.flatten(1, 2)), dim=1)

    def embed_speech(self, cepstra_BCW: Tensor) -> Tensor:
        """Embeds windows [B, 13, 20] of cepstra as unit vectors [B, D]."""
        level_BCW = (cepstra_BCW - self.mean_C[:, None]) / self.std_C[:, None]
        return F.normalize(self.speech(level_BCW.clamp(-_LOUDEST, _LOUDEST)[:, None]), dim=1)

    def save(self, path: Path) -> None:
        """Writes one safetensors file in half precision, the configuration in its metadata."""
        tensors = {
            name: (value if name.endswith("_C") else value.half()).contiguous()
            for name, value in self.state_dict().items()
        }
        save_file(tensors, path, metadata={"syncnet": json.dumps(asdict(self.config))})

    @classmethod
    def load(cls, path: Path = DEFAULT_SYNCNET) -> "SmallSyncNet":
        """Loads the file. Raises WeightsError if it is missing or does not fit its config."""
        if not path.is_file():
            command = "python -m training.evaluate.train_syncnet"
            raise WeightsError(f"no SyncNet at {path}: run {command}")
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118
        if "syncnet" not in metadata:
            raise WeightsError(f"{path}: no SyncNet configuration in the metadata")
        try:
            net = cls(validate(SmallSyncNetConfig, json.loads(metadata["syncnet"]), "syncnet"))
            net.load_state_dict(tensors)
        except (RuntimeError, ValueError, InputError) as error:
            raise WeightsError(f"{path}: {error}") from error
        return net.eval().requires_grad_(False)


def _tower(before: int, widths: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [
            nn.Conv2d(before, width, 3, stride=2, padding=1),
            nn.GroupNorm(width // _GROUP_CHANNELS, width),
            nn.GELU(),
        ]
        before = width
    return layers


def _head(flat: int, config: SmallSyncNetConfig) -> list[nn.Module]:
    return [nn.Linear(flat, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.embedding)]
