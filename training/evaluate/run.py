"""One evaluation: generates every clip of every row, measures, summarises, draws.

Legend: T frames, H W pixels, N audio samples at 16 kHz.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flashtalk.arrays import Frames, Pcm, Rgb
from flashtalk.streaming.spec import StreamSpec
from training.evaluate.clip_pictures import draw_clip, draw_stream
from training.evaluate.judges import Judges
from training.evaluate.kept_readings import Kept, KeptReadings
from training.evaluate.pictures import ShownFrames, drift_plot, sheet_frames
from training.evaluate.probes import Probes
from training.evaluate.reading import Reading, read_video
from training.evaluate.reference_clip import ReferenceClip, ReferenceClips
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
    """The minimum of an evaluation: a VAE."""

    @property
    def spec(self) -> StreamSpec:
        """Returns the stream spec of its weights."""

    def through_codec(self, video_THWC: Frames) -> Frames:
        """The video encoded and decoded chunk by chunk, as long as it was."""


@runtime_checkable
class HasCodec(Protocol):
    """A performer with a digest of its VAE."""

    @property
    def codec_digest(self) -> str:
        """Returns a digest of the dependencies of ``through_codec``."""


@runtime_checkable
class Performer(RoundTrip, Protocol):
    """A whole pipeline, or a test double."""

    def perform(self, portrait_HWC: Rgb, pcm_N: Pcm, *, prompt: str, seed: int) -> Frames:
        """A video [T, H, W, 3] of the portrait speaking, one frame per 640 samples."""


@dataclass(frozen=True)
class EvaluationPlan:
    """The plan of a run.  ``wrong_audio`` clips are also generated with another clip's speech.

    ``kept`` contains readings of truth and VAE of earlier evaluations; its facts name all their
    dependencies except the clip.
    """

    short: ReferenceClips
    long: ReferenceClips = ()
    wrong_audio: int = 8
    pictures: int = 3
    seed: int = 0
    settings: Mapping[str, object] = field(default_factory=dict)
    judges: Judges = field(default_factory=Judges)
    kept: KeptReadings | None = None


def evaluate(
    performer: RoundTrip,
    plan: EvaluationPlan,
    probes: Probes,
    out: Path,
    *,
    show_progress: bool = True,
) -> Report:
    """Runs the plan; writes pictures, ``report.json`` and ``report.md`` to ``out``.

    A ``performer`` without ``perform`` is a VAE alone: only the truth rows are filled.
    """
    out.mkdir(parents=True, exist_ok=True)
    new_frames, fps = performer.spec.new_frames, performer.spec.fps
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
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
    performer: RoundTrip, plan: EvaluationPlan, probes: Probes, out: Path, progress: Progress
) -> dict[str, list[Reading]]:
    rows: dict[str, list[Reading]] = {TRUTH: [], VAE: [], GENERATED: [], WRONG: []}
    count = len(plan.short)
    for index in progress.track(range(count), description="short clips"):
        clip = plan.short[index]
        frames = sheet_frames(len(clip.frames_THWC), start_frame=8)
        videos, readings = _references(performer, plan, probes, clip, frames)
        if isinstance(performer, Performer):
            speeches = {GENERATED: clip.pcm_N}
            if count > 1 and index < plan.wrong_audio:
                speeches[WRONG] = plan.short[(index + 1) % count].pcm_N
            for name, pcm_N in speeches.items():
                made_THWC, wall_s = _timed(performer, clip, pcm_N, plan.seed + index)
                videos[name] = made_THWC
                readings[name] = read_video(
                    made_THWC, clip, probes, judges=plan.judges, wall_s=wall_s
                )
        for name, reading in readings.items():
            rows[name].append(reading)
        if index < plan.pictures:
            draw_clip(out, index, clip, videos, readings, frames, performer.spec.fps)
    return rows


def _long_rows(
    performer: RoundTrip, plan: EvaluationPlan, probes: Probes, out: Path, progress: Progress
) -> dict[str, list[Reading]]:
    rows: dict[str, list[Reading]] = {TRUTH: [], VAE: [], GENERATED: []}
    for index in progress.track(range(len(plan.long)), description="long streams"):
        clip = plan.long[index]
        length = len(clip.frames_THWC)
        frames = sheet_frames(length, step_frames=max(1, length // 12))
        videos, readings = _references(performer, plan, probes, clip, frames)
        if isinstance(performer, Performer):
            made_THWC, wall_s = _timed(performer, clip, clip.pcm_N, plan.seed + index)
            videos[GENERATED] = made_THWC
            readings[GENERATED] = read_video(
                made_THWC, clip, probes, judges=plan.judges, wall_s=wall_s
            )
        for name, reading in readings.items():
            rows[name].append(reading)
        if index < plan.pictures:
            draw_stream(out, index, videos, readings, frames, performer.spec.fps)
    return rows


def _references(
    performer: RoundTrip,
    plan: EvaluationPlan,
    probes: Probes,
    clip: ReferenceClip,
    frames: Sequence[int],
) -> tuple[dict[str, ShownFrames], dict[str, Reading]]:
    """Truth and truth through the VAE, which are the same for every student: what is shown of
    them, and their readings.  A VAE that is judged by itself is always measured anew."""

    def truth() -> Kept:
        return Kept(read_video(clip.frames_THWC, clip, probes, judges=plan.judges), {})

    def through_vae() -> Kept:
        video_THWC = performer.through_codec(clip.frames_THWC)
        reading = read_video(video_THWC, clip, probes, judges=plan.judges)
        return Kept(reading, {k: video_THWC[k] for k in frames})

    if not isinstance(performer, Performer):
        video_THWC = performer.through_codec(clip.frames_THWC)
        reading = read_video(video_THWC, clip, probes, judges=plan.judges)
        return ({TRUTH: clip.frames_THWC, VAE: video_THWC}, {TRUTH: truth().reading, VAE: reading})
    if plan.kept is None:
        found = {TRUTH: truth(), VAE: through_vae()}
    else:
        facts = {"clip": clip.digest, "shown": list(frames), "spec": performer.spec}
        found = {
            TRUTH: plan.kept.get({**facts, "row": TRUTH}, truth),
            VAE: plan.kept.get({**facts, "row": VAE}, through_vae),
        }
    return (
        {TRUTH: clip.frames_THWC, VAE: found[VAE].shown},
        {name: one.reading for name, one in found.items()},
    )


def _timed(
    performer: Performer, clip: ReferenceClip, pcm_N: Pcm, seed: int
) -> tuple[Frames, float]:
    """The performed video and the seconds it took."""
    start_s = time.perf_counter()
    video_THWC = performer.perform(clip.portrait_HWC, pcm_N, prompt=clip.caption, seed=seed)
    return video_THWC, time.perf_counter() - start_s
