"""``python -m training.evaluate.compare NAME=PATH ...``: compares several models in one table.

PATH is a ``report.json``, a folder that contains one, or a folder of weights, which is evaluated
first.  Give a name several times for several training seeds.  Options after ``--`` go to the
evaluation of weights.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from flashtalk.engine.sampling import SAMPLING_FILE
from flashtalk.errors import FlashTalkError, InputError
from flashtalk.terminal import OneLineParser, guarded, note
from training.evaluate.comparison import Comparison, ModelReports, compare, read_report
from training.evaluate.interval_plot import interval_plot
from training.evaluate.summary import GENERATED
from training.evaluate.terminal_tables import print_markdown


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses the command line; returns the words after ``--`` unchanged."""
    given = list(arguments)
    cut = given.index("--") if "--" in given else len(given)
    parser = OneLineParser(prog="python -m training.evaluate.compare", description=__doc__)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="NAME=PATH",
        help="reports by name; differences are relative to the first name",
    )
    parser.add_argument("--out", type=Path, default=Path("out/compare"), help="output folder")
    parser.add_argument("--row", default=GENERATED, help="row of the reports")
    parser.add_argument("--resamples", type=int, default=2000)
    return parser.parse_args(given[:cut]), given[cut + 1 :]


def run(arguments: argparse.Namespace, rest: Sequence[str], console: Console) -> Comparison:
    """Evaluates models without a report, compares, writes and prints."""
    reports: dict[str, list[Path]] = {}
    for model in arguments.models:
        name, separator, path = model.partition("=")
        if not separator or not name or not path:
            raise InputError("model", model, "NAME=PATH")
        reports.setdefault(name, []).append(Path(path))
    entries = []
    for name, paths in reports.items():
        folders = [
            _evaluated(path, arguments.out / f"{name}-{seed}", rest, console)
            for seed, path in enumerate(paths)
        ]
        entries.append(ModelReports(name, tuple(read_report(folder) for folder in folders)))
    found = compare(entries, kind=arguments.row, resamples=arguments.resamples)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "compare.json").write_text(found.to_json())
    (arguments.out / "compare.md").write_text(found.to_markdown())
    interval_plot(arguments.out / "compare.png", found)
    print_markdown(console, found.to_markdown())
    console.print(f"written to {arguments.out}")
    return found


def _evaluated(path: Path, out: Path, rest: Sequence[str], console: Console) -> Path:
    """Returns ``path``, or the folder of the new report if ``path`` contains weights."""
    if not (path / SAMPLING_FILE).is_file():
        return path
    # Imported here: comparing reports needs neither networks nor a pipeline.
    from training.evaluate.__main__ import parse as parse_evaluation
    from training.evaluate.__main__ import run as run_evaluation

    console.print(f"evaluate {path}")
    run_evaluation(parse_evaluation(["--weights", str(path), "--out", str(out), *rest]), console)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or exits with code 2 and one line for bad input."""
    try:
        run(*parse(sys.argv[1:] if arguments is None else arguments), Console())
    except FlashTalkError as error:
        note(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("training.evaluate.compare", main))
