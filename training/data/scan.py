"""``python -m training.data.scan``: checks every video of a manifest once and writes its index.

Training opens the index. Unusable videos are counted and listed in MANIFEST.skipped.tsv. An
interrupted scan is resumed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.streaming import FPS
from flashtalk.terminal import OneLineParser, guarded, note
from training.data.videos.check import check_entry
from training.data.videos.index import (
    LeftOut,
    Result,
    ScanConfig,
    Scanned,
    header,
    index_path,
    read_results,
    result_line,
)
from training.data.videos.manifest import Entry, manifest_digest, read_manifest


def scan(
    manifest: Path, config: ScanConfig, *, workers: int = 1, console: Console | None = None
) -> list[Result]:
    """Checks the entries of a manifest that are not scanned yet; writes the index.

    Args:
        manifest: the file; its index and the list of skipped entries are written beside it.
        config: requirements for a video.
        workers: number of videos that are decoded at the same time.
        console: console for a progress bar; default: none.

    Returns:
        One result per entry, in order.

    Raises:
        InputError: an unreadable manifest; never for a bad video.
    """
    if workers < 1:
        raise InputError("workers", workers, "at least 1")
    entries = read_manifest(manifest)
    first_line = header(manifest_digest(entries), config)
    path = index_path(manifest)
    partial_path = path.with_name(f"{path.name}.partial")
    results = _earlier(path, first_line)
    if len(results) < len(entries):
        results = _earlier(partial_path, first_line)
        with partial_path.open("w", encoding="utf-8") as lines:
            # Rewritten: the last line of an interrupted scan may be incomplete.
            lines.write(json.dumps(first_line) + "\n")
            for entry, result in zip(entries, results, strict=False):
                lines.write(result_line(entry, result) + "\n")
            for entry, result in _checked(
                entries[len(results) :], manifest, config, workers, console
            ):
                lines.write(result_line(entry, result) + "\n")
                lines.flush()
                results.append(result)
        partial_path.replace(path)
    _write_left_out(manifest, entries, results)
    return results


def _earlier(path: Path, first_line: dict[str, object]) -> list[Result]:
    """Returns the results of an earlier scan of the same manifest with the same limits."""
    try:
        return read_results(path, first_line)
    except InputError:
        return []


def _checked(
    entries: Sequence[Entry],
    manifest: Path,
    config: ScanConfig,
    workers: int,
    console: Console | None,
) -> Iterator[tuple[Entry, Result]]:
    check = partial(check_entry, folder=manifest.parent, config=config)
    columns = (TextColumn("[bold]scan"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        ThreadPoolExecutor(workers) as pool,
        Progress(*columns, console=console, disable=console is None) as progress,
    ):
        task = progress.add_task("scan", total=len(entries))
        # In parts, so that not millions of entries are in the pool's queue at once.
        for first in range(0, len(entries), 8 * workers):
            part = entries[first : first + 8 * workers]
            for entry, result in zip(part, pool.map(check, part), strict=True):
                yield entry, result
                progress.advance(task)


def left_out_path(manifest: Path) -> Path:
    """Returns the path of the list of skipped entries: key, reason, detail."""
    return manifest.with_name(f"{manifest.name}.skipped.tsv")


def _write_left_out(manifest: Path, entries: Sequence[Entry], results: Sequence[Result]) -> None:
    lines = ["key\treason\tdetail"]
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, LeftOut):
            cells = (entry.key, result.reason, result.detail)
            lines.append("\t".join(" ".join(cell.split()) for cell in cells))
    left_out_path(manifest).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _report(manifest: Path, results: Sequence[Result]) -> None:
    usable = [result for result in results if isinstance(result, Scanned)]
    hours = sum(result.frames for result in usable) / FPS / 3600
    print(f"{len(usable)} of {len(results)} usable, {hours:.2f} hours; {index_path(manifest)}")
    if len(usable) == len(results):
        return
    table = Table()
    table.add_column("skipped")
    table.add_column("videos", justify="right")
    counts = Counter(result.reason for result in results if isinstance(result, LeftOut))
    for reason, count in counts.most_common():
        table.add_row(reason, str(count))
    Console().print(table)
    print(f"skipped entries are listed in {left_out_path(manifest)}")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns 0 with at least one usable video, else 1, 2 for bad arguments."""
    limits = ScanConfig()
    parser = OneLineParser(prog="python -m training.data.scan", description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--quick", action="store_true", help="do not decode every frame")
    parser.add_argument(
        "--workers", type=int, default=1, help="number of videos decoded concurrently"
    )
    parser.add_argument("--fewest-frames", type=int, default=limits.fewest_frames)
    parser.add_argument("--smallest-px", type=int, default=limits.smallest_px)
    given = parser.parse_args(arguments)
    try:
        config = ScanConfig(given.fewest_frames, given.smallest_px, quick=given.quick)
        console = Console(stderr=True)
        results = scan(given.manifest, config, workers=given.workers, console=console)
    except FlashTalkError as error:
        note(str(error))
        return 2
    _report(given.manifest, results)
    return 0 if any(isinstance(result, Scanned) for result in results) else 1


if __name__ == "__main__":
    sys.exit(guarded("training.data.scan", main))
