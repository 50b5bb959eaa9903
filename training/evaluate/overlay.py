"""Frames with the measured and the spoken mouth opening below them, on one time axis.

Legend: T frames, H W pixels.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flashtalk.arrays import DoubleArray, Frames, IntArray, RealArray, Rgb
from flashtalk.errors import InputError
from flashtalk.streaming import FPS

_PHONEMES, _SHOWN = "0.82", "tab:red"


def lip_overlay(
    path: Path,
    truth_THWC: Frames,
    shown_THWC: Frames,
    phonemes_T: RealArray,
    measured_T: RealArray,
    *,
    names: tuple[str, str],
    columns: int = 16,
    start_s: float = 0.4,
    seconds: float = 2.56,
    fps: int = FPS,
) -> None:
    """Writes a PNG of ``seconds`` from ``start_s`` on: true frames, shown frames, two openings.

    Every frame is above its own time.  ``measured_T`` is the probe's measurement of the shown
    video, ``phonemes_T`` the opening of the speech.

    Raises:
        InputError: the lengths differ.
    """
    if not len(truth_THWC) == len(shown_THWC) == len(phonemes_T) == len(measured_T):
        raise InputError("videos and tracks", len(shown_THWC), f"{len(truth_THWC)} frames each")
    first = min(round(start_s * fps), max(0, len(truth_THWC) - 2))
    stop = min(first + round(seconds * fps), len(truth_THWC))
    edges = np.linspace(first, stop, columns + 1)
    picked = ((edges[:-1] + edges[1:]) / 2).astype(int)
    figure = Figure(figsize=(1.0 * columns, 4.4), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1, 2))
    for axis, name, video_THWC in zip(axes, names, (truth_THWC, shown_THWC), strict=False):
        _strip(axis, video_THWC, picked, edges, fps)
        axis.set_ylabel(name)
    _tracks(axes[2], phonemes_T, measured_T, first, stop, fps, name=names[1])
    for frame in picked:
        axes[2].axvline((frame + 0.5) / fps, color="0.9", linewidth=0.8, zorder=0)
    axes[2].set_xlim(first / fps, stop / fps)
    axes[2].set_xlabel("seconds")
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=90)


def _strip(axis: Axes, video_THWC: Frames, picked: IntArray, edges: DoubleArray, fps: int) -> None:
    for column, frame in enumerate(picked):
        left, right = edges[column] / fps, edges[column + 1] / fps
        gap = 0.02 * (right - left)
        axis.imshow(
            _face(video_THWC[frame]),
            extent=(left + gap, right - gap, 0, 1),
            aspect="auto",
            interpolation="lanczos",
        )
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.tick_params(bottom=False)
    for side in axis.spines.values():
        side.set_visible(False)


def _face(frame_HWC: Rgb) -> Rgb:
    """The middle of the frame, where the face is: the mouth must be large enough to be read."""
    height, width = frame_HWC.shape[:2]
    side = round(0.62 * min(height, width))
    top, left = round(0.5 * height - 0.42 * side), (width - side) // 2
    return frame_HWC[top : top + side, left : left + side]


def _tracks(
    axis: Axes,
    phonemes_T: RealArray,
    measured_T: RealArray,
    first: int,
    stop: int,
    fps: int,
    *,
    name: str,
) -> None:
    seconds_T = (np.arange(first, stop) + 0.5) / fps
    axis.fill_between(seconds_T, phonemes_T[first:stop], color=_PHONEMES, label="phonemes")
    axis.plot(
        seconds_T,
        measured_T[first:stop],
        color=_SHOWN,
        marker=".",
        markersize=4,
        linewidth=1.4,
        label=f"{name}, measured",
    )
    axis.set_ylim(-0.05, 1.05)
    axis.set_ylabel("opening")
    axis.legend(loc="upper right", fontsize=8, ncols=2)
