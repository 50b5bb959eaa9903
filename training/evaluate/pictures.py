"""Pictures of an evaluation: contact sheet, lip tracks, drift curves, GIF.

Legend: T frames, H W pixels.  Videos are uint8 [T, H, W, 3] at 25 fps.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from flashtalk.arrays import BoolArray, Frames, RealArray, Rgb
from flashtalk.streaming import FPS

# A whole video, or some of its frames by number.
ShownFrames = Frames | Mapping[int, Rgb]

_INK, _PAPER, _GAP_PX = (30, 30, 30), (250, 250, 250), 4


def sheet_frames(
    length: int, *, columns: int = 12, start_frame: int = 0, step_frames: int = 4
) -> list[int]:
    """Returns the frames of a contact sheet for videos of that ``length``."""
    return [f for k in range(columns) if (f := start_frame + k * step_frames) < length]


def contact_sheet(
    path: Path,
    rows: Mapping[str, ShownFrames],
    frames: Sequence[int],
    *,
    zoom: int = 1,
    fps: int = FPS,
) -> None:
    """Writes a PNG with one named row per video and one column for each of ``frames``."""
    font = ImageFont.load_default(13)
    height, width = next(iter(rows.values()))[frames[0]].shape[:2]
    cell_h, cell_w = height * zoom, width * zoom
    label_w = 12 + max(int(font.getlength(name)) for name in rows)
    sheet = Image.new(
        "RGB",
        (label_w + len(frames) * (cell_w + _GAP_PX), 20 + len(rows) * (cell_h + _GAP_PX)),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for column, frame in enumerate(frames):
        left = label_w + column * (cell_w + _GAP_PX)
        draw.text((left + 2, 2), f"{frame / fps:.2f} s", fill=_INK, font=font)
    for row, (name, shown) in enumerate(rows.items()):
        top = 20 + row * (cell_h + _GAP_PX)
        draw.text((6, top + cell_h // 2 - 8), name, fill=_INK, font=font)
        for column, frame in enumerate(frames):
            cell = Image.fromarray(shown[frame]).resize((cell_w, cell_h), Image.Resampling.NEAREST)
            sheet.paste(cell, (label_w + column * (cell_w + _GAP_PX), top))
    sheet.save(path, optimize=True)


def lip_plot(
    path: Path,
    truth_T: RealArray,
    measured: Mapping[str, RealArray],
    *,
    title: str,
    silent_T: BoolArray | None = None,
    fps: int = FPS,
) -> None:
    """Plots the phonemes' mouth opening with the measured ones; silences are shaded."""
    seconds_T = np.arange(len(truth_T)) / fps
    figure = Figure(figsize=(10, 1.5 + 1.4 * len(measured)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(measured), 1, sharex=True, sharey=True))
    for axis, (name, track_T) in zip(axes, measured.items(), strict=True):
        axis.fill_between(seconds_T, truth_T, color="0.85", label="phonemes")
        axis.plot(seconds_T, track_T, color="tab:red", linewidth=1.2, label=name)
        if silent_T is not None:
            axis.fill_between(seconds_T, -0.1, 1.1, where=silent_T, color="tab:blue", alpha=0.12)
        axis.set_ylim(-0.1, 1.1)
        axis.set_ylabel("opening")
        axis.legend(loc="upper right", fontsize=8)
    axes[0].set_title(title)
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def drift_plot(
    path: Path,
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    seconds_per_chunk: float,
) -> None:
    """Plots one panel per measure, one line per row, over the seconds of a long stream."""
    count = max(len(curves), 1)
    figure = Figure(figsize=(10, 2.2 * count), layout="constrained")
    axes = np.atleast_1d(figure.subplots(count, 1, sharex=True))
    for axis, (measure, rows) in zip(axes, curves.items(), strict=False):
        for name, values in rows.items():
            axis.plot(np.arange(len(values)) * seconds_per_chunk, values, marker=".", label=name)
        axis.set_ylabel(measure)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="best")
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def gif(
    path: Path,
    video_THWC: Frames,
    *,
    fps: int = FPS,
    every: int = 2,
    zoom: int = 2,
    colours: int = 64,
) -> int:
    """Writes a looping GIF of every ``every``-th frame with a shared palette; returns its bytes.

    GIF times are multiples of 10 ms: 25 fps halved (80 ms) is exact.  One palette without
    dithering keeps a static background static, so that the file is small.
    """
    frames_THWC = video_THWC[::every]
    height, width = frames_THWC.shape[1:3]
    thinned = np.concatenate(list(frames_THWC[:: max(1, len(frames_THWC) // 8)]), axis=0)
    palette = Image.fromarray(thinned).quantize(colours)
    pages = [
        Image.fromarray(frame)
        .resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
        .quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames_THWC
    ]
    pages[0].save(
        path,
        save_all=True,
        append_images=pages[1:],
        loop=0,
        duration=round(1000 * every / fps),
        optimize=True,
    )
    return path.stat().st_size


def side_by_side(videos: Sequence[Frames], *, gap_px: int = _GAP_PX) -> Frames:
    """Videos of one size next to each other, cut to the shortest."""
    shortest = min(len(video) for video in videos)
    height = videos[0].shape[1]
    gap = np.full((shortest, height, gap_px, 3), 250, np.uint8)
    parts: list[Frames] = []
    for video in videos:
        parts += [gap, video[:shortest]]
    return np.concatenate(parts[1:], axis=2)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=90)
