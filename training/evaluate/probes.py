"""The measuring networks: mouth, pose and identity from the pixels of any video.

Legend: T frames, D identity numbers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flashtalk.arrays import FloatArray, Frames
from flashtalk.errors import InputError, WeightsError
from flashtalk.validation import validate
from training.evaluate.canvas import mouth_crops, to_canvas
from training.evaluate.digests import digest_of, digest_of_network
from training.evaluate.regressor import Regressor, RegressorConfig

DEFAULT_PROBES = Path(__file__).parents[2] / "weights" / "probes" / "probes.safetensors"

HEAD = ("head_x", "head_y", "head_roll", "head_scale")
HANDS = ("hand_l_x", "hand_l_y", "hand_l_angle", "hand_r_x", "hand_r_y", "hand_r_angle")
EYES = ("blink", "brow")
MOUTH = ("openness", "width", "rounding")
MOUTH_INSIDE = ("teeth", "tongue")
POSE_OUTPUTS = (*HEAD, *HANDS, *EYES)
MOUTH_OUTPUTS = (*MOUTH, *MOUTH_INSIDE)

_BATCH = 128


@dataclass(frozen=True)
class Measurement:
    """The probes' measurements of one video: named tracks [T] and identity vectors [T, D]."""

    tracks: Mapping[str, FloatArray]
    identity_TD: FloatArray

    def stack(self, names: tuple[str, ...]) -> FloatArray:
        """Returns several tracks side by side, [T, len(names)]."""
        return np.stack([self.tracks[name] for name in names], axis=1)


@dataclass(frozen=True)
class Probes:
    """Three regressors.  ``pose`` finds the head, ``mouth`` measures the crop at it, ``person``
    the identity (in units of the population's standard deviation)."""

    pose: Regressor
    mouth: Regressor
    person: Regressor

    @torch.inference_mode()
    def measure(self, video_THWC: Frames) -> Measurement:
        """Read every frame on its own: no smoothing that could hide flicker."""
        parts = [
            self._measure_batch(to_canvas(video_THWC[start : start + _BATCH]))
            for start in range(0, len(video_THWC), _BATCH)
        ]
        pose_TK, mouth_TK, identity_TD = (torch.cat(p).numpy() for p in zip(*parts, strict=True))
        tracks = dict(zip(POSE_OUTPUTS, pose_TK.T, strict=True))
        tracks |= dict(zip(MOUTH_OUTPUTS, mouth_TK.T, strict=True))
        return Measurement(tracks, identity_TD)

    def _measure_batch(self, canvas_TCSS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pose_TK = self.pose(canvas_TCSS)
        mouth_TK = self.mouth(mouth_crops(canvas_TCSS, pose_TK[:, : len(HEAD)]))
        return pose_TK, mouth_TK, self.person.standardised(canvas_TCSS)

    @property
    def digest(self) -> str:
        """Returns a digest of all numbers of all three."""
        nets = {"pose": self.pose, "mouth": self.mouth, "person": self.person}
        return digest_of({name: digest_of_network(net) for name, net in nets.items()})

    @torch.inference_mode()
    def look(self, video_THWC: Frames) -> FloatArray:
        """The identity probe's last hidden layer [T, D]: how each frame looks to it."""
        parts = [
            self.person.hidden(to_canvas(video_THWC[start : start + _BATCH]))
            for start in range(0, len(video_THWC), _BATCH)
        ]
        return torch.cat(parts).numpy()

    def save(self, path: Path) -> None:
        """Writes one safetensors file in half precision, with configurations in its metadata."""
        nets = {"pose": self.pose, "mouth": self.mouth, "person": self.person}
        tensors = {
            f"{net}.{name}": (value if name.endswith("_K") else value.half()).contiguous()
            for net, module in nets.items()
            for name, value in module.state_dict().items()
        }
        metadata = {net: json.dumps(asdict(module.config)) for net, module in nets.items()}
        save_file(tensors, path, metadata=metadata)

    @classmethod
    def load(cls, path: Path = DEFAULT_PROBES) -> "Probes":
        """Loads the file. Raises WeightsError if it is missing or does not fit its config."""
        if not path.is_file():
            raise WeightsError(f"no probes at {path}: run python -m training.evaluate.train_probe")
        try:
            with safe_open(path, framework="pt") as stored:
                metadata = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: damaged ({error})") from error
        return cls(*(_restore(net, metadata, tensors, path) for net in ("pose", "mouth", "person")))


def _restore(
    net: str, metadata: Mapping[str, str], tensors: Mapping[str, Tensor], path: Path
) -> Regressor:
    if net not in metadata:
        raise WeightsError(f"{path}: no configuration of the {net} probe")
    own = {k.removeprefix(f"{net}."): v for k, v in tensors.items() if k.startswith(f"{net}.")}
    try:
        module = Regressor(validate(RegressorConfig, json.loads(metadata[net]), net))
        module.load_state_dict(own)
    except (RuntimeError, ValueError, InputError) as error:
        raise WeightsError(f"{path}: {error}") from error
    return module.eval().requires_grad_(False)
