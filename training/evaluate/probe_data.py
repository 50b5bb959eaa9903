"""Rendered frames for training and testing the probes.

Legend: N frames, H W pixels, K track columns, D identity columns.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from flashtalk.arrays import FloatArray
from training.data.synthtalk.identity import PERSON_COLUMNS, draw_identity
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.canvas import CANVAS_PX
from training.evaluate.probes import HEAD, MOUTH_OUTPUTS

# Wider than the data set moves (motion.py): a generated head may leave the true range, and a probe
# that has seen only the true range would pull it back.
_RANGES = {
    "head_x": (-0.08, 0.08),
    "head_y": (-0.06, 0.07),
    "head_roll": (-0.16, 0.16),
    "head_scale": (0.92, 1.08),
    "blink": (0.0, 1.0),
    "brow": (0.0, 1.0),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-1.0, 1.0),
    "hand_l_x": (-0.08, 0.08),
    "hand_l_y": (-0.26, 0.1),
    "hand_l_angle": (-1.0, 0.8),
    "hand_r_x": (-0.08, 0.08),
    "hand_r_y": (-0.26, 0.1),
    "hand_r_angle": (-0.8, 1.0),
    "energy": (0.0, 1.0),
}
_RESTLESS = ("head_", "hand_")


@dataclass(frozen=True)
class ProbeFrames:
    """Frames uint8 [N, 3, 64, 64] with their tracks [N, K] and persons [N, D]."""

    frames_NCSS: Tensor
    tracks_NK: Tensor
    person_ND: Tensor

    def column(self, names: tuple[str, ...]) -> Tensor:
        """Track columns [N, len(names)]."""
        return self.tracks_NK[:, [TRACK_INDEX[name] for name in names]]


def draw_tracks(rng: np.random.Generator, count: int) -> FloatArray:
    """``count`` unrelated frames: every parameter uniform, every combination possible.

    Half of the frames are near the rest pose, where most true frames are.  A third of the mouths
    is nearly closed, where small openings decide what counts as closed; half of the eyes are open.
    """
    tracks = np.zeros((count, len(TRACK_COLUMNS)), np.float32)
    calm = np.where(rng.random(count) < 0.5, 0.5, 1.0)
    for name, (low, high) in _RANGES.items():
        drawn = rng.uniform(low, high, count)
        rest = 1.0 if name == "head_scale" else 0.0
        if name.startswith(_RESTLESS):
            drawn = rest + calm * (drawn - rest)
        tracks[:, TRACK_INDEX[name]] = drawn
    for name in MOUTH_OUTPUTS:
        tracks[:, TRACK_INDEX[name]] = rng.uniform(0.0, 1.0, count)
    shut = rng.random(count) < 1 / 3
    tracks[shut, TRACK_INDEX["openness"]] = rng.uniform(0.0, 0.12, int(shut.sum()))
    tracks[rng.random(count) < 0.5, TRACK_INDEX["blink"]] = 0.0
    # Teeth and tongue are invisible in a closed mouth: there the target is their rest value.
    opened = np.clip(tracks[:, TRACK_INDEX["openness"]] * 6.0, 0.0, 1.0)
    for name in ("teeth", "tongue"):
        tracks[:, TRACK_INDEX[name]] *= opened
    return tracks


def render_pool(seeds: range, frames_each: int, *, title: str) -> ProbeFrames:
    """Renders ``frames_each`` unrelated frames of every identity seed at 64 x 64."""
    frames, tracks, persons = [], [], []
    for seed in track(seeds, title):
        identity = draw_identity(seed)
        drawn = draw_tracks(np.random.default_rng([seed, 77]), frames_each)
        rendered = render(identity, drawn, (CANVAS_PX, CANVAS_PX))
        frames.append(torch.from_numpy(rendered).permute(0, 3, 1, 2).contiguous())
        tracks.append(torch.from_numpy(drawn))
        person = torch.from_numpy(identity[:PERSON_COLUMNS].copy())
        persons.append(person.expand(frames_each, -1))
    return ProbeFrames(torch.cat(frames), torch.cat(tracks), torch.cat(persons))


def worn(canvas_BCSS: Tensor, generator: torch.Generator) -> Tensor:
    """Degrades half of the batch like a codec: blur, noise, a cast and lower contrast.

    Probes measure generated video, which is softer than a render, and must not confuse softness
    for a closed mouth.
    """
    batch = len(canvas_BCSS)
    sigma = 0.3 + 1.0 * torch.rand(batch, 1, generator=generator)
    taps_K = torch.arange(-2.0, 3.0)
    kernel_BK = torch.exp(-(taps_K**2) / (2 * sigma**2))
    kernel_BK = (kernel_BK / kernel_BK.sum(1, keepdim=True)).repeat_interleave(3, 0)
    side = canvas_BCSS.shape[-1]
    flat = F.pad(canvas_BCSS.reshape(1, batch * 3, side, side), (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(flat, kernel_BK[:, None, :, None], groups=batch * 3)
    flat = F.conv2d(flat, kernel_BK[:, None, None, :], groups=batch * 3)
    soft_BCSS = flat.reshape(batch, 3, side, side)
    gain = 1.0 + 0.12 * (torch.rand(batch, 1, 1, 1, generator=generator) - 0.5)
    cast = 0.1 * (torch.rand(batch, 3, 1, 1, generator=generator) - 0.5)
    grain = torch.randn(soft_BCSS.shape, generator=generator)
    noise = 0.04 * torch.rand(batch, 1, 1, 1, generator=generator) * grain
    is_worn = torch.rand(batch, 1, 1, 1, generator=generator) < 0.5
    return torch.where(is_worn, soft_BCSS * gain + cast + noise, canvas_BCSS)


def jittered(pose_B4: Tensor, generator: torch.Generator) -> Tensor:
    """Returns head poses with the pose probe's errors, which the mouth probe must tolerate."""
    spread_4 = torch.tensor([0.008, 0.008, 0.03, 0.02])
    return pose_B4 + spread_4 * torch.randn(len(pose_B4), len(HEAD), generator=generator)
