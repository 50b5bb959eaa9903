"""Hundreds of bad inputs for each command: never a traceback, never a hang, nothing left behind.

Each case is drawn from a seed of its own; ``FLASHTALK_TEST_SEED`` moves them all. Models are never
run: what would reach them is told apart by an error in their place.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flashtalk.engine
from flashtalk.cli import bench_run, doctor_report
from flashtalk.cli.footprint import footprint
from flashtalk.cli.machine import inspect_machine
from flashtalk.cli.main import main
from flashtalk.errors import InputError
from flashtalk.presets import PRESETS
from flashtalk.terminal import guarded
from tests import seeds
from tests.fakes.bad_inputs import NUMBERS, SIZES, STREAMS, SURROUNDINGS, TEXTS, Files, Stream
from training import train
from training.evaluate import __main__ as evaluate

CASES = 300
REACHED_MODELS = "the models were reached"
Options = dict[str, str | None]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.make(tmp_path_factory.mktemp("inputs"))


def no_models(*_: Any, **__: Any) -> None:
    raise InputError("models", "none", REACHED_MODELS)


def generate_options(draw: random.Random, files: Files) -> tuple[list[str], Options]:
    good: Options = {"image": str(files.image), "audio": str(files.audio), "out": str(files.out)}
    bad: dict[str, Callable[[], str]] = {
        "image": lambda: files.path(draw, files.image),
        "audio": lambda: files.path(draw, files.audio),
        "out": lambda: files.path(draw, files.out),
        "weights": lambda: files.path(draw, files.out),
        "preset": lambda: draw.choice(("huge", "", "tiny\n", "flashtalk-14b", "\udcff")),
        "seed": lambda: draw.choice(NUMBERS),
        "size": lambda: draw.choice(SIZES),
        "steps": lambda: draw.choice(NUMBERS),
        "prompt": lambda: draw.choice(TEXTS),
        "dtype": lambda: draw.choice(("float8", "", "\0", "f" * 5_000)),
    }
    return ["generate"], good | spoiled(draw, bad)


def talk_options(draw: random.Random, files: Files) -> tuple[list[str], Options]:
    good: Options = {
        "image": str(files.image),
        "audio": str(files.audio),
        "out": str(files.out),
        "gateway": "127.0.0.1:1",
        "patience": "0.01",
    }
    hosts = ("", ":", "http://a:1", "a", "a:0", "a:99999", "a:x", "[::1", "a b:1", ",", "\udcff:1")
    bad: dict[str, Callable[[], str]] = {
        "image": lambda: files.path(draw, files.image),
        "audio": lambda: draw.choice(("-", not_a_pipe(draw, files))),
        "out": lambda: draw.choice(("-", files.path(draw, files.out))),
        "gateway": lambda: draw.choice(hosts),
        "seed": lambda: draw.choice(NUMBERS),
        "size": lambda: draw.choice(SIZES),
        "prompt": lambda: draw.choice(TEXTS),
        "patience": lambda: draw.choice(NUMBERS),
    }
    return ["talk"], good | spoiled(draw, bad)


def bench_options(draw: random.Random, files: Files) -> tuple[list[str], Options]:
    bad: dict[str, Callable[[], str]] = {
        "image": lambda: files.path(draw, files.image),
        "audio": lambda: files.path(draw, files.audio),
        "out": lambda: files.path(draw, files.out),
        "weights": lambda: files.path(draw, files.out),
        "size": lambda: draw.choice(SIZES),
        "dtype": lambda: draw.choice(("float8", "", "\udcff")),
        "preset": lambda: draw.choice(("huge", "")),
    }
    for name in ("chunks", "warmup", "guidance", "steps", "threads", "minutes"):
        bad[name] = lambda: draw.choice(NUMBERS)
    return ["bench"], spoiled(draw, bad)


def capacity_options(draw: random.Random, files: Files) -> tuple[list[str], Options]:
    bad: dict[str, Callable[[], str]] = {
        "size": lambda: draw.choice(SIZES),
        "preset": lambda: draw.choice((*PRESETS, "huge", "")),
        # Folders that are missing are made, and so is what a broken link leads to.
        "out": lambda: str(draw.choice((files.folder / "sub", "/dev/null/x/y", "/proc/x/y"))),
    }
    for name in (
        "step-ms",
        "encode-ms",
        "decode-ms",
        "audio-ms",
        "other-ms",
        "steps",
        "link-gb-s",
        "exchange-us",
        "sessions",
        "busy-share",
    ):
        bad[name] = lambda: draw.choice((*NUMBERS, "1e-9", "1e9", "5"))
    return ["bench", "capacity"], spoiled(draw, bad)


def doctor_options(draw: random.Random, files: Files) -> tuple[list[str], Options]:
    words = draw.choice(([], ["--json"], ["--jso"], ["json"], ["--json="], ["--json", "--json"]))
    return ["doctor", *words], {}


def train_options(draw: random.Random, files: Files) -> tuple[list[str], Options]:
    good: Options = {
        "recipe": "tiny_vae",
        "data": str(files.folder / "none"),
        "run-dir": str(files.folder / "run"),
    }
    bad: dict[str, Callable[[], str]] = {
        "recipe": lambda: draw.choice(("none", "", "\udcff", "tiny-vae")),
        "minutes": lambda: draw.choice(NUMBERS),
        "data": lambda: files.path(draw, files.out),
        "start-from": lambda: files.path(draw, files.out),
    }
    field = draw.choice(
        ("lr", "schedule.steps", "trainer.seed", "nothing", "", "a.b", "=", "trainer")
    )
    override = f"{field}={draw.choice(NUMBERS)}"
    return ["--smoke", *draw.choice(([], [override.lstrip("-")]))], good | spoiled(draw, bad)


def evaluate_options(draw: random.Random, files: Files) -> tuple[list[str], Options]:
    good: Options = {"weights": str(files.folder / "none"), "out": str(files.folder / "judged")}
    bad: dict[str, Callable[[], str]] = {
        "weights": lambda: files.path(draw, files.out),
        "probes": lambda: files.path(draw, files.out),
        "size": lambda: draw.choice(SIZES),
        "preset": lambda: draw.choice(("huge", "")),
    }
    for name in ("short", "long", "seed", "steps", "short-seconds", "continuous", "marks"):
        bad[name] = lambda: draw.choice(NUMBERS)
    return [], good | spoiled(draw, bad)


def not_a_pipe(draw: random.Random, files: Files) -> str:
    """A pipe that nobody writes to is rightly waited for."""
    path = files.path(draw, files.audio)
    return "none" if path in files.pipes() else path


def spoiled(draw: random.Random, bad: dict[str, Callable[[], str]]) -> Options:
    """One to three options that are wrong."""
    names = draw.sample(sorted(bad), draw.choice((1, 1, 1, 2, 3)))
    return {name: bad[name]() for name in names}


def as_words(draw: random.Random, first: list[str], options: Options) -> list[str]:
    pairs = list(options.items())
    draw.shuffle(pairs)
    words = [*first]
    for name, value in pairs:
        # An option and its value in one word, which may then begin with a dash.
        words.append(f"--{name}={value}")
    if draw.random() < 0.1:
        words.insert(draw.randrange(len(words) + 1), draw.choice(("--none", "-", "\udcff", "x\ny")))
    return words


def in_flashtalk(words: list[str]) -> int:
    return main(words)


def in_training(words: list[str]) -> int:
    return guarded("training.train", lambda: train.main(words))


def in_evaluation(words: list[str]) -> int:
    return guarded("training.evaluate", lambda: evaluate.main(words))


COMMANDS: dict[str, tuple[Callable[[random.Random, Files], tuple[list[str], Options]], Any]] = {
    "generate": (generate_options, in_flashtalk),
    "talk": (talk_options, in_flashtalk),
    "bench": (bench_options, in_flashtalk),
    "bench capacity": (capacity_options, in_flashtalk),
    "doctor": (doctor_options, in_flashtalk),
    "training.train": (train_options, in_training),
    "training.evaluate": (evaluate_options, in_evaluation),
}


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No models, and one look at the machine for all cases."""
    monkeypatch.setattr(flashtalk.engine, "load_pipeline", no_models)
    monkeypatch.setattr(bench_run, "_pipeline", no_models)
    monkeypatch.setattr(evaluate, "_performer", no_models)
    machine = inspect_machine()
    monkeypatch.setattr(doctor_report, "inspect_machine", lambda: machine)
    monkeypatch.setattr(doctor_report, "check_kernels", lambda device: [])
    found = {"tiny": footprint("tiny")}
    monkeypatch.setattr(doctor_report, "PRESETS", found)
    monkeypatch.setattr(doctor_report, "footprint", lambda preset: found[preset])
    yield
    tempfile.tempdir = None


@pytest.mark.timeout(100)
@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("command", COMMANDS)
def test_bad_inputs_are_one_line_each(
    command: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, run = COMMANDS[command]
    before = files.left()
    monkeypatch.chdir(files.folder)
    codes = set()
    for number in range(CASES):
        draw = random.Random(f"{command} {number} {seeds.offset()}")
        words = as_words(draw, *make(draw, files))
        out = draw.choice(STREAMS)() if draw.random() < 0.4 else Stream(None)
        err = Stream(None, draw.choice(("utf-8", "ascii")))
        stdin = None if draw.random() < 0.1 else sys.stdin
        with monkeypatch.context() as patch:
            changes = draw.choice(SURROUNDINGS) if draw.random() < 0.4 else {}
            for name, value in changes.items():
                if value is None:
                    patch.delenv(name, raising=False)
                else:
                    patch.setenv(name, value)
            tempfile.tempdir = None
            patch.setattr(sys, "stdin", stdin)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = code_of(run, words)
        told = f"case {number}: {words!r:.600} {changes}: exit code {code}\n{err.text}"
        assert code in ((0, 2, 141) if command in ("doctor", "bench capacity") else (2,)), told
        lines = err.text.splitlines()
        assert len(lines) == (code == 2), told
        assert all(len(line) < 3_000 and "Traceback" not in line for line in lines), told
        codes.add(code)
        assert files.left() == before, told
    assert 2 in codes


def code_of(run: Callable[[list[str]], int], words: list[str]) -> int:
    """Of a command in this process; argparse ends it by itself."""
    try:
        return run(words)
    except SystemExit as stopped:
        return int(str(stopped.code))


REDIRECTIONS = (
    "<&-",
    ">&-",
    "2>&-",
    "<&- >&- 2>&-",
    ">/dev/full",
    "2>/dev/full",
    ">/dev/full 2>&1",
    "| true",
    "2>&1 | true",
)
RUNS = {
    "--help": (0, 2, 141),
    "generate --help": (0, 2, 141),
    "generate --image none --audio none --out none": (2,),
    "talk --image face.png --audio - --out out.mp4": (2,),
    "nothing": (2,),
}


@pytest.mark.parametrize("words", RUNS)
def test_closed_and_broken_streams_of_a_process(words: str, files: Files) -> None:
    """The same with real descriptors, in processes of their own."""
    before = files.left()
    script = "; ".join(
        f"( set -o pipefail; {sys.executable} -m flashtalk.cli {words} {each} ); echo $? >&3"
        for each in REDIRECTIONS
    )
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1; {{ {script}; }} 1>/dev/null"],
        cwd=files.folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    codes = [int(line) for line in done.stdout.split()]
    assert len(codes) == len(REDIRECTIONS), done.stderr
    assert set(codes) <= set(RUNS[words]), dict(zip(REDIRECTIONS, codes, strict=True))
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    if 0 not in RUNS[words]:  # help is printed on standard error where there is no output
        assert all(line.startswith("flashtalk") for line in done.stderr.splitlines())
    assert files.left() == before


def test_an_error_of_the_program_itself_is_one_line_too(
    files: Files, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("several\nlines")

    monkeypatch.setattr(flashtalk.engine, "load_pipeline", fails)
    monkeypatch.setattr(tempfile, "tempdir", str(files.folder / "sub"))
    words = [
        "generate",
        "--image",
        str(files.image),
        "--audio",
        str(files.audio),
        "--out",
        str(files.out),
    ]
    assert main(words) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("flashtalk: internal error: RuntimeError: several lines (")
    assert "FLASHTALK_DEBUG=1" in line
    (kept,) = (files.folder / "sub").iterdir()
    assert str(kept) in line
    assert "in fails" in kept.read_text()
    kept.unlink()
    monkeypatch.setenv("FLASHTALK_DEBUG", "1")
    with pytest.raises(RuntimeError):
        main(words)


def test_the_good_inputs_of_these_tests_reach_the_models(
    files: Files, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flashtalk.engine, "load_pipeline", no_models)
    words = [f"--{name}={getattr(files, name)}" for name in ("image", "audio", "out")]
    assert main(["generate", *words]) == 2
    assert REACHED_MODELS in capfd.readouterr().err
    assert Path(files.out).exists() is False
