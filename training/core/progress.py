"""A progress bar on a terminal, a log line every ten seconds elsewhere."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from flashtalk.terminal import live_console

ItemT = TypeVar("ItemT")
LOG_INTERVAL_S = 10.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class RunProgress:
    """Shows fraction, losses, steps per second and remaining time of a task."""

    def __init__(
        self, title: str, *, done: int = 0, console: Console | None = None, quiet: bool = False
    ) -> None:
        self._title = title
        self._console = console or live_console(stderr=True, quiet=quiet)
        self._first_step = done
        self._started_s = time.monotonic()
        self._first_fraction: float | None = None
        self._logged_s = self._started_s
        self._bar: Progress | None = None
        self._row = TaskID(0)

    def __enter__(self) -> "RunProgress":
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._bar.start()
            self._row = self._bar.add_task(self._title, total=1.0, note="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, fraction: float, values: Mapping[str, float]) -> None:
        """Redraws the bar, or logs every ten seconds."""
        now_s = time.monotonic()
        if self._first_fraction is None:
            self._first_fraction = fraction
        if self._bar is None and now_s - self._logged_s < LOG_INTERVAL_S:
            return
        spent_s = max(now_s - self._started_s, 1e-6)
        gained = fraction - self._first_fraction
        eta = _clock(spent_s * (1 - fraction) / gained) if gained > 0 else "?"
        shown = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        rate = (step - self._first_step) / spent_s
        note = f"step {step} {shown} {rate:.2f} it/s eta {eta}"
        if self._bar is not None:
            self._bar.update(self._row, completed=fraction, note=note)
        else:
            self.say(f"{self._title} {100 * fraction:5.1f}% {note}")
            self._logged_s = now_s

    def say(self, text: str) -> None:
        """Prints a permanent line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def track(title: str, items: Sequence[ItemT] | Iterable[ItemT], total: int) -> Iterator[ItemT]:
    """Iterates with a ``RunProgress``; for caches and other set-up work."""
    with RunProgress(title) as progress:
        for index, item in enumerate(items):
            yield item
            progress.update(index + 1, (index + 1) / max(total, 1), {})
