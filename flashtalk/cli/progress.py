"""The progress display while a video is made, and the last line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from flashtalk.terminal import live_console


@contextmanager
def progress_bar(
    total_frames: int | None, *, stderr: bool = False
) -> Iterator[tuple[Progress, TaskID]]:
    """Frames, speed and time left, on terminals only.

    Args:
        total_frames: number of expected frames, if known.
        stderr: prints to standard error, for when standard output is the video.
    """
    console = live_console(stderr=stderr)
    with Progress(
        MofNCompleteColumn(),
        TextColumn("frames"),
        BarColumn(),
        TextColumn("{task.fields[fps]} fps"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        yield progress, progress.add_task("talk", total=total_frames, fps="-")


@contextmanager
def steps(total: int) -> Iterator[Callable[[str], None]]:
    """A bar over steps of different length; yields a function to call with each step's name."""
    console = live_console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task, done = progress.add_task("", total=total), iter(range(total + 1))
        yield lambda name: progress.update(task, description=name, completed=next(done, total))


def summary(frames: int, video_fps: int, elapsed_s: float, first_frame_s: float) -> str:
    """One line for people and scripts; a real_time_factor below 1 is faster than real time."""
    fps = frames / max(elapsed_s, 1e-9)
    return (
        f"frames={frames} seconds={frames / video_fps:.2f} fps={fps:.2f} "
        f"real_time_factor={video_fps / max(fps, 1e-9):.3f} "
        f"first_frame_ms={1_000 * first_frame_s:.0f}"
    )
