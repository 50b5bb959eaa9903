"""``python -m training.ablate table2 table3``: the report's ablations at small scale.

Trains every row from the same teacher, evaluates the students on the same clips, writes the tables.
An interrupted command is resumed by the same command.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.terminal import OneLineParser, guarded, note
from training.ablate.jobs import Commands, Jobs, progress_of_runs
from training.ablate.place import AblationPlace
from training.ablate.plan import TABLES, AblationPlan
from training.ablate.tables import write_tables
from training.evaluate.terminal_tables import print_markdown


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line parser."""
    parser = OneLineParser(
        prog="python -m training.ablate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tables", nargs="+", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".cache/synthtalk"),
        help="folder with the rendered splits (default %(default)s)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path("weights/tiny"),
        help="folder with the frozen models (default %(default)s)",
    )
    parser.add_argument(
        "--teacher", type=Path, help="folder of the Stage 1 transformer (default: in WEIGHTS)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="output folder")
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        help="number of seeds of K = 1 and random; the other rows have one",
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of concurrent processes")
    parser.add_argument(
        "--smoke", action="store_true", help="smoke test with tiny sizes; takes seconds"
    )
    parser.add_argument(
        "--judge",
        default="--short 16 --long 8 --wrong-audio 0",
        help="options for training.evaluate (default %(default)s)",
    )
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="key=value",
        dest="overrides",
        help="override a recipe field in every row",
    )
    return parser


def run(options: argparse.Namespace, console: Console) -> bool:
    """Trains, evaluates and writes the tables; returns whether every row was finished.

    Raises:
        InputError: an invalid option.
    """
    if options.jobs < 1:
        raise InputError("--jobs", options.jobs, "at least 1")
    plan = AblationPlan(tuple(options.tables), options.seeds)
    place = AblationPlace(options.out)
    teacher = options.teacher or _teacher(options.weights)
    evaluation = shlex.split(options.judge)
    settings = {
        "teacher": teacher,
        "smoke": options.smoke,
        "fields": options.overrides,
        "judging": evaluation,
    }
    place.prepare(options.weights, teacher, settings)
    training = [*options.overrides, *(["--smoke"] if options.smoke else [])]
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    commands = Commands(options.data, training, evaluation, threads, environment)
    jobs = Jobs(place, commands, options.jobs)
    with progress_of_runs() as progress:
        failed = jobs.work_off(plan.runs(), progress)
    for table, text in write_tables(plan, place, failed).items():
        print_markdown(console, f"{table}\n\n{text}")
    console.print(f"written to {options.out}")
    return not failed


def _teacher(weights: Path) -> Path:
    shipped = weights / "teacher"
    return shipped if shipped.is_dir() else weights / "dit"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if all rows are finished, 1 if some failed, 2 for bad input."""
    try:
        return 0 if run(build_parser().parse_args(arguments), Console()) else 1
    except FlashTalkError as error:
        note(f"error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(guarded("training.ablate", main))
