"""One evaluation: perform every clip in every row, measure, summarise, draw.

Legend: T frames, H W pixels, N audio samples at 16 kHz.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flashtalk.streaming.spec import StreamSpec
from training.evaluate.clip import Clip
from training.evaluate.fidelity import Image, Video
from training.evaluate.judges import Judges
from training.evaluate.overlay import lip_overlay
from training.evaluate.pictures import contact_sheet, drift_plot, gif, lip_plot, side_by_side
from training.evaluate.probes import Probes
from training.evaluate.reading import Reading, read_video
from training.evaluate.report import Report, Table
from training.evaluate.summary import (
    GENERATED,
    TRUTH,
    VAE,
    WRONG,
    drift_curves,
    long_table,
    short_table,
    stranger_distance,
    targets,
)
from training.evaluate.talkbench import talkbench_table


class RoundTrip(Protocol):
    """What every evaluation needs: the VAE."""

    def through_codec(self, video_THWC: Video) -> Video:
        """The video encoded and decoded chunk by chunk, as long as it was."""


@runtime_checkable
class Performer(RoundTrip, Protocol):
    """A whole pipeline, or a stand-in for one in a test."""

    def perform(
        self, portrait_HWC: Image, pcm_N: NDArray[np.float32], *, prompt: str, seed: int
    ) -> Video:
        """A video [T, H, W, 3] of the portrait speaking, one frame per 640 samples."""


class Clips(Protocol):
    """Clips by index; they may be loaded when asked for, as a long one is large."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Clip: ...


@dataclass(frozen=True)
class Plan:
    """What to run.  ``wrong_audio`` clips are also performed with another clip's speech."""

    short: Clips
    long: Clips = ()
    wrong_audio: int = 8
    pictures: int = 3
    seed: int = 0
    settings: Mapping[str, object] = field(default_factory=dict)
    spec: StreamSpec = field(default_factory=StreamSpec)
    judges: Judges = field(default_factory=Judges)


def evaluate(
    performer: RoundTrip, plan: Plan, probes: Probes, out: Path, *, show_progress: bool = True
) -> Report:
    """Run the plan; pictures, ``report.json`` and ``report.md`` go to ``out`` (made if missing).

    A ``performer`` that has no ``perform`` is a VAE alone: only the truth rows are filled.
    """
    out.mkdir(parents=True, exist_ok=True)
    new_frames, fps = plan.spec.new_frames, plan.spec.fps
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, disable=not show_progress) as progress:
        short = _short_rows(performer, plan, probes, out, progress)
        long = _long_rows(performer, plan, probes, out, progress)
    table = short_table(short, chunk_frames=new_frames, fps=fps)
    bench, videos = talkbench_table(short, long, chunk_frames=new_frames)
    tables: list[Table] = [bench, table]
    curves: Mapping[str, Mapping[str, list[float]]] = {}
    if long[TRUTH]:
        curves = drift_curves(long, chunk_frames=new_frames)
        tables.append(long_table(long, curves))
        drift_plot(out / "drift.png", curves, seconds_per_chunk=new_frames / fps)
    settings = (
        dict(plan.settings)
        | plan.judges.notes
        | {
            "short clips": len(short[TRUTH]),
            "long streams": len(long[TRUTH]),
            "ID distance between strangers": round(stranger_distance(short[TRUTH]), 3),
        }
    )
    long_rows = tables[2] if len(tables) > 2 else None
    report = Report(tuple(tables), targets(table, long_rows), settings, curves, videos)
    report.write(out)
    return report


def _short_rows(
    performer: RoundTrip, plan: Plan, probes: Probes, out: Path, progress: Progress
) -> dict[str, list[Reading]]:
    rows: dict[str, list[Reading]] = {TRUTH: [], VAE: [], GENERATED: [], WRONG: []}
    count = len(plan.short)
    for index in progress.track(range(count), description="short clips"):
        clip = plan.short[index]
        videos = {TRUTH: clip.frames_THWC, VAE: performer.through_codec(clip.frames_THWC)}
        wall_s = float("nan")
        if isinstance(performer, Performer):
            videos[GENERATED], wall_s = _timed(performer, clip, clip.pcm_N, plan.seed + index)
            if count > 1 and index < plan.wrong_audio:
                foreign_N = plan.short[(index + 1) % count].pcm_N
                videos[WRONG], _ = _timed(performer, clip, foreign_N, plan.seed + index)
        for name, video_THWC in videos.items():
            spent_s = wall_s if name == GENERATED else float("nan")
            rows[name].append(read_video(video_THWC, clip, probes, wall_s=spent_s,
                                         judges=plan.judges))  # fmt: skip
        if index < plan.pictures:
            _draw(out, index, clip, videos, {n: rows[n][-1] for n in videos}, plan.spec.fps)
    return rows


def _long_rows(
    performer: RoundTrip, plan: Plan, probes: Probes, out: Path, progress: Progress
) -> dict[str, list[Reading]]:
    rows: dict[str, list[Reading]] = {TRUTH: [], VAE: [], GENERATED: []}
    for index in progress.track(range(len(plan.long)), description="long streams"):
        clip = plan.long[index]
        videos = {TRUTH: clip.frames_THWC, VAE: performer.through_codec(clip.frames_THWC)}
        wall_s = float("nan")
        if isinstance(performer, Performer):
            videos[GENERATED], wall_s = _timed(performer, clip, clip.pcm_N, plan.seed + index)
        for name, video_THWC in videos.items():
            spent_s = wall_s if name == GENERATED else float("nan")
            rows[name].append(read_video(video_THWC, clip, probes, wall_s=spent_s,
                                         judges=plan.judges))  # fmt: skip
        if index < plan.pictures:
            shortest = min(len(video) for video in videos.values())
            contact_sheet(out / f"long-{index}.png", videos, step_frames=max(1, shortest // 12),
                          zoom=_zoom(clip), fps=plan.spec.fps)  # fmt: skip
    return rows


def _timed(
    performer: Performer, clip: Clip, pcm_N: NDArray[np.float32], seed: int
) -> tuple[Video, float]:
    """The performed video and the seconds it took."""
    start_s = time.perf_counter()
    video_THWC = performer.perform(clip.portrait_HWC, pcm_N, prompt=clip.caption, seed=seed)
    return video_THWC, time.perf_counter() - start_s


def _draw(
    out: Path, index: int, clip: Clip, videos: Mapping[str, Video],
    readings: Mapping[str, Reading], fps: int,
) -> None:  # fmt: skip
    zoom = _zoom(clip)
    contact_sheet(out / f"sheet-{index}.png", videos, start_frame=8, zoom=zoom, fps=fps)
    openness = {name: reading.measured.tracks["openness"] for name, reading in readings.items()}
    truth_T = clip.track("openness")
    shortest = min(len(truth_T), *(len(track_T) for track_T in openness.values()))
    lip_plot(
        out / f"lips-{index}.png", truth_T[:shortest],
        {name: track_T[:shortest] for name, track_T in openness.items()},
        title=f"{clip.name}: {clip.caption}", silent_T=clip.silent_T[:shortest], fps=fps,
    )  # fmt: skip
    best = GENERATED if GENERATED in videos else VAE
    lip_overlay(
        out / f"overlay-{index}.png", clip.frames_THWC[:shortest], videos[best][:shortest],
        truth_T[:shortest], openness[best][:shortest], names=(TRUTH, best), fps=fps,
    )  # fmt: skip
    if GENERATED not in videos:
        return
    gif(out / f"generated-{index}.gif", videos[GENERATED], fps=fps, zoom=zoom)
    pair = side_by_side([videos[TRUTH], videos[GENERATED]])
    gif(out / f"truth-generated-{index}.gif", pair, fps=fps, zoom=zoom)


def _zoom(clip: Clip) -> int:
    """Whole-number zoom to about 128 pixels."""
    height_px = int(clip.frames_THWC.shape[1])
    return max(1, 128 // height_px)
