"""The pictures of one clip or stream of an evaluation.

Legend: T frames, H W pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from training.evaluate.overlay import lip_overlay
from training.evaluate.pictures import (
    ShownFrames,
    contact_sheet,
    gif,
    lip_plot,
    side_by_side,
)
from training.evaluate.reading import Reading
from training.evaluate.reference_clip import ReferenceClip
from training.evaluate.summary import GENERATED, TRUTH, VAE

_ABOUT_PX = 128


def draw_clip(
    out: Path,
    index: int,
    clip: ReferenceClip,
    videos: Mapping[str, ShownFrames],
    readings: Mapping[str, Reading],
    frames: Sequence[int],
    fps: int,
) -> None:
    """Draws contact sheet, lip tracks, overlay and loops of a short clip.

    ``videos`` contains whole videos, or at least ``frames`` of them.
    """
    shortest = min(reading.frames for reading in readings.values())
    draw_sheet(out / f"sheet-{index}.png", videos, [k for k in frames if k < shortest], fps)
    openness = {name: reading.measured.tracks["openness"] for name, reading in readings.items()}
    truth_T = clip.track("openness")
    lip_plot(
        out / f"lips-{index}.png",
        truth_T[:shortest],
        {name: track_T[:shortest] for name, track_T in openness.items()},
        title=f"{clip.name}: {clip.caption}",
        silent_T=clip.silent_T[:shortest],
        fps=fps,
    )
    best = GENERATED if GENERATED in videos else VAE
    shown_THWC = videos[best]
    if not isinstance(shown_THWC, np.ndarray):
        return
    lip_overlay(
        out / f"overlay-{index}.png",
        clip.frames_THWC[:shortest],
        shown_THWC[:shortest],
        truth_T[:shortest],
        openness[best][:shortest],
        names=(TRUTH, best),
        fps=fps,
    )
    if best != GENERATED:
        return
    zoom = _zoom(clip.frames_THWC.shape[1])
    gif(out / f"generated-{index}.gif", shown_THWC, fps=fps, zoom=zoom)
    pair = side_by_side([clip.frames_THWC, shown_THWC])
    gif(out / f"truth-generated-{index}.gif", pair, fps=fps, zoom=zoom)


def draw_stream(
    out: Path,
    index: int,
    videos: Mapping[str, ShownFrames],
    readings: Mapping[str, Reading],
    frames: Sequence[int],
    fps: int,
) -> None:
    """Draws the contact sheet of a long stream; ``videos`` as in ``draw_clip``."""
    shortest = min(reading.frames for reading in readings.values())
    draw_sheet(out / f"long-{index}.png", videos, [k for k in frames if k < shortest], fps)


def draw_sheet(
    path: Path, videos: Mapping[str, ShownFrames], frames: Sequence[int], fps: int
) -> None:
    """A contact sheet at about the usual size; none of videos that are shorter than ``frames``."""
    if frames:
        height_px = next(iter(videos.values()))[frames[0]].shape[0]
        contact_sheet(path, videos, frames, zoom=_zoom(height_px), fps=fps)


def _zoom(height_px: int) -> int:
    """Returns the whole-number zoom to about 128 pixels."""
    return max(1, _ABOUT_PX // height_px)
