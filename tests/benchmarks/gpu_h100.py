"""Everything that is to be known of a GPU with 80 GB, in less than eight minutes, without network.

    python -m tests.benchmarks.gpu_h100 --out out/h100.json
    python -m tests.benchmarks.gpu_h100 --rehearse --out out/rehearsal.json     # tiny, on a CPU

The 14B preset with random weights that are drawn on the device: Table 4 in bfloat16 and FP8,
eager and compiled, at 720x416 and 768x448; the cycle of a chunk and its peak memory; kernels of
attention; how far FP8 is from bfloat16; a profiler's trace of a chunk with the host's waits; what
a CUDA graph of a step and cuDNN's search for the fastest algorithm would gain.

The most important parts come first. They run in a child process (``gpu_parts``); one that fails
costs its own result, one that hangs or takes its process down costs a new process, and when the
time is up the rest is marked as not run. The JSON is written anew after every part.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flashtalk.cli.bar_chart import Bar, draw_bars

FORMAT = 1
AGAIN = 75
"""Exit code of a child: the part that was begun wants a fresh process."""
BUDGET_S = 460.0
CHILD = [sys.executable, "-m", "tests.benchmarks.gpu_parts"]
_START_S = 120.0
"""What a new process may take before its first part begins."""
PARTS: dict[str, float] = {
    "machine": 40.0,
    "stages-bf16-eager-720x416": 90.0,
    "error-bf16-eager-720x416": 30.0,
    "attention": 30.0,
    "stages-bf16-compiled-720x416": 200.0,
    "cycle-bf16-compiled-720x416": 90.0,
    "trace-bf16-compiled-720x416": 90.0,
    "stages-fp8-compiled-720x416": 200.0,
    "error-fp8-compiled-720x416": 30.0,
    "cycle-fp8-compiled-720x416": 60.0,
    "stages-fp8-compiled-768x448": 120.0,
    "stages-bf16-compiled-768x448": 120.0,
    "stages-bf16-eager-768x448": 60.0,
    "graphs-bf16-eager-720x416": 60.0,
    "replay-bf16-eager-720x416": 40.0,
    "algorithms-bf16-eager-720x416": 60.0,
    "stages-fp8-eager-720x416": 60.0,
    "stages-fp8-eager-768x448": 60.0,
}
"""Seconds that each may take, in the order in which they are run."""

TARGETS = (
    ("DiT step, bf16, compiled", "stages-bf16-compiled-720x416", "dit_step", 560.0),
    ("DiT step, FP8, compiled", "stages-fp8-compiled-720x416", "dit_step", 450.0),
    ("VAE decode", "stages-bf16-compiled-720x416", "decode", 450.0),
    ("motion encode", "stages-bf16-compiled-720x416", "encode", 45.0),
)
"""Name, part, stage, and the milliseconds that are aimed at on an H100 at 720x416."""


@dataclass
class Run:
    """What is known so far.

    Args:
        out: JSON file.
        rehearsal: tiny, on a CPU.
        until_s: on the monotonic clock.
        parts: name to ``state`` (done, refused, failed, late, died, not run), with ``result``,
            ``refused`` or ``error``.
    """

    out: Path
    rehearsal: bool
    until_s: float
    began_s: float = field(default_factory=time.monotonic)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def waiting(self) -> list[str]:
        """Parts that have not ended, in their order."""
        return [name for name in PARTS if name not in self.parts]

    def document(self) -> dict[str, Any]:
        """Everything as it is written."""
        rest = {name: {"state": "not run"} for name in self.waiting}
        return {
            "format": FORMAT,
            "rehearsal": self.rehearsal,
            "took_s": time.monotonic() - self.began_s,
            "targets": [self._target(*target) for target in TARGETS],
            "parts": {name: (self.parts | rest)[name] for name in PARTS},
        }

    def write(self) -> None:
        """The file is whole at any time."""
        beside = self.out.with_suffix(".new")
        beside.write_text(json.dumps(self.document(), indent=2) + "\n", encoding="utf-8")
        beside.replace(self.out)

    def end(self, name: str, **found: Any) -> None:
        """A part is over."""
        self.parts[name] = found
        self.write()
        took = f", {found['took_s']:.0f} s" if "took_s" in found else ""
        print(
            f"{name}: {found['state']}{took} {found.get('error') or found.get('refused', '')}",
            flush=True,
        )

    def _target(self, name: str, part: str, stage: str, aim_ms: float) -> dict[str, Any]:
        row = self.parts.get(part, {}).get("result")
        found_ms = None if row is None else row["stages"][stage]["p50_ms"]
        # A rehearsal's times are of other sizes and say nothing about the aim.
        met = None if found_ms is None or self.rehearsal else found_ms <= aim_ms
        return {"name": name, "aim_ms": aim_ms, "p50_ms": found_ms, "met": met}


def work(run: Run, lines: Path) -> None:
    """One child process, until it has ended, by itself or because of what it did."""
    words = [*CHILD, "--lines", str(lines), *run.waiting]
    given = dict(os.environ)  # noqa: TID251 - what a shell would hand on
    # Pieces of the model before do not keep the next one from fitting.
    given.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    lines.unlink(missing_ok=True)
    lines.touch()
    with lines.with_suffix(".log").open("ab") as log:
        child = subprocess.Popen(
            [*words, *(["--rehearse"] if run.rehearsal else [])],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=given,
        )
        try:
            _watch(run, child, lines)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _watch(run: Run, child: subprocess.Popen[bytes], lines: Path) -> None:
    seen, part, part_until_s = 0, None, time.monotonic() + _START_S
    while True:
        ended = child.poll() is not None
        found = lines.read_text(encoding="utf-8").splitlines(keepends=True)
        # The last one may be on its way still.
        whole = [json.loads(line) for line in found if line.endswith("\n")]
        for line in whole[seen:]:
            name = line.pop("part")
            if "began" in line:
                part, part_until_s = name, time.monotonic() + PARTS[name]
            else:
                part, part_until_s = None, time.monotonic() + _START_S
                run.end(name, state=_state(line), **line)
        seen = len(whole)
        now_s = time.monotonic()
        if ended or now_s > run.until_s or now_s > part_until_s:
            _blame(run, part, child.returncode if ended else None)
            return
        time.sleep(0.2)


def _state(line: dict[str, Any]) -> str:
    """What became of a part that ended by itself; ``refused``: this machine cannot do it."""
    if "error" in line:
        return "failed"
    return "refused" if "refused" in line else "done"


def _blame(run: Run, part: str | None, code: int | None) -> None:
    """What was running when a process ended or had to be ended."""
    if (part is None and code == 0) or code == AGAIN:
        return
    name = part or run.waiting[0]
    if code is not None:
        run.end(name, state="died", error=f"its process ended with {code}")
    elif time.monotonic() > run.until_s:
        run.end(name, state="late", error="the time for everything was up")
    else:
        run.end(name, state="late", error=f"more than {PARTS[name]:.0f} s")


def show(document: dict[str, Any], console: Console) -> None:
    """The aims, and the rows of Table 4."""
    table = Table(title="Aims at 720x416, milliseconds", title_justify="left")
    for heading in ("", "aim", "median", "met"):
        table.add_column(heading, justify="right" if heading else "left")
    for target in document["targets"]:
        found = "not measured" if target["p50_ms"] is None else f"{target['p50_ms']:.1f}"
        met = {None: "", True: "yes", False: "no"}[target["met"]]
        table.add_row(target["name"], f"{target['aim_ms']:.0f}", found, met)
    console.print(table)
    rows = Table(title="Table 4, medians in milliseconds (limit)", title_justify="left")
    for heading in ("", "encode", "decode", "DiT step", "of peak", "GiB"):
        rows.add_column(heading, justify="right" if heading else "left")
    for name, part in document["parts"].items():
        if not name.startswith("stages-"):
            continue
        if "result" not in part:
            rows.add_row(name.removeprefix("stages-"), part["state"])
            continue
        stages, memory = part["result"]["stages"], part["result"]["memory"]
        share = f"{100 * stages['dit_step']['peak_share']:.0f} %"
        cells = [f"{stage['p50_ms']:.3g} ({stage['limit_ms']:.3g})" for stage in stages.values()]
        peak = memory["device_peak_bytes"] or memory["peak_rss_bytes"]
        rows.add_row(name.removeprefix("stages-"), *cells, share, f"{peak / 2**30:.1f}")
    console.print(rows)


def _draw(document: dict[str, Any], path: Path) -> None:
    bars = [
        Bar(
            f"{name.removeprefix('stages-')}: {title}",
            stage["p50_ms"],
            stage["p95_ms"],
            stage["limit_ms"],
        )
        for name, part in document["parts"].items()
        if name.startswith("stages-") and "result" in part
        for title, stage in part["result"]["stages"].items()
    ]
    machine = document["parts"]["machine"].get("result", {}).get("machine_line", "")
    if bars:
        draw_bars(bars, f"One GPU, stages of a chunk\n{machine}", path)


def main() -> int:
    """Measures, writes, prints; 1 if nothing could be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gpu_h100", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("out/h100.json"), help="JSON file")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on a CPU")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="for everything")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    run = Run(args.out, args.rehearse, time.monotonic() + args.budget_s)
    lines = args.out.with_suffix(".lines")
    lines.with_suffix(".log").unlink(missing_ok=True)
    run.write()
    while run.waiting and time.monotonic() < run.until_s:
        work(run, lines)
    lines.unlink(missing_ok=True)
    run.write()
    document = run.document()
    show(document, Console())
    try:
        _draw(document, args.out.with_suffix(".png"))
    except Exception as error:  # the picture is no reason to lose anything
        print(f"no chart: {error}")
    print(f"{args.out}: written after {document['took_s']:.0f} s")
    return 0 if any(part["state"] == "done" for part in document["parts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
