"""The parts of `flashtalk bench` that need no model: inputs, bounded memory log, bad options."""

import io
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flashtalk.cli import bench_report
from flashtalk.cli.bench_inputs import packets, portrait, sound
from flashtalk.cli.bench_soak import FLAT_MIB, MIB, MemoryLog, Soak, peak_rss_bytes
from flashtalk.cli.main import main
from flashtalk.cli.spread import Spread
from flashtalk.streaming import StreamSpec

SPEC = StreamSpec()
MEGABYTES = st.integers(1, 4_000)


def logged(memory: list[int], capacity: int = 64) -> MemoryLog:
    log = MemoryLog(capacity)
    for index, rss in enumerate(memory):
        log.add(float(index), rss)
    return log


@given(st.lists(MEGABYTES, min_size=1, max_size=600), st.sampled_from((4, 8, 64)))
def test_a_memory_log_is_bounded_and_loses_no_peak(memory: list[int], capacity: int) -> None:
    log = logged(memory, capacity)
    points = log.points
    assert len(points) <= capacity
    assert max(point.rss_bytes for point in points) == max(memory)
    assert points[-1].video_s == len(memory) - 1
    assert all(a.video_s < b.video_s for a, b in pairwise(points))


@given(st.integers(1, 3_000), MEGABYTES)
def test_steady_memory_is_flat_whatever_the_warm_up_took(chunks: int, rss: int) -> None:
    warm_up = [rss // 2] * (chunks // 8)
    assert logged(warm_up + [rss] * chunks).growth_bytes == 0


@given(st.integers(16, 3_000))
def test_a_leak_shows_as_half_of_what_leaked(chunks: int) -> None:
    """The middles of the second and of the last quarter are half a stream apart."""
    leaked = logged([index * MIB for index in range(chunks)]).growth_bytes / MIB
    assert 0.35 * chunks < leaked < 0.65 * chunks


@pytest.mark.parametrize(("growth_mib", "flat"), [(-50, True), (FLAT_MIB, True), (17, False)])
def test_growth_has_a_limit(growth_mib: int, flat: bool) -> None:
    assert Soak(60.0, 30.0, 1.0, (), growth_mib * MIB).flat is flat


def test_peak_memory_is_that_of_a_python_process_with_torch() -> None:
    assert 50 * MIB < peak_rss_bytes() < 64 << 30


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_percentiles_lie_within_the_values_and_in_order(values: list[float]) -> None:
    spread = Spread.of(values)
    assert min(values) <= spread.p50 <= spread.p95 <= max(values)
    assert spread.count == len(values)


@given(st.integers(1, 5_000), st.integers(0, 20_000))
def test_packets_repeat_the_sound_to_the_exact_length(length: int, samples: int) -> None:
    pcm = np.arange(length, dtype=np.float32)
    found = list(packets(pcm, samples, SPEC.pcm_hz))
    assert all(0 < len(packet) <= 320 and packet.dtype == np.float32 for packet in found)
    joined = np.concatenate([np.zeros(0, np.float32), *found])
    np.testing.assert_array_equal(joined, np.resize(pcm, samples))


def test_the_drawn_inputs_are_a_picture_and_audible_sound() -> None:
    picture, pcm = portrait(None, (48, 32)), sound(None, SPEC.pcm_hz)
    assert picture.shape == (48, 32, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10
    assert pcm.dtype == np.float32
    assert 0.05 < np.abs(pcm).max() <= 1


def test_a_sound_file_is_read_and_a_picture_file_too(repo_root: Path) -> None:
    pcm = sound(repo_root / "examples" / "speech.wav", SPEC.pcm_hz)
    assert SPEC.pcm_hz < len(pcm) <= 60 * SPEC.pcm_hz
    assert portrait(repo_root / "examples" / "portrait.png").shape[2] == 3


def test_the_processor_is_named() -> None:
    assert bench_report.cpu_model("processor : 0\nmodel name\t: Fast One 9\n") == "Fast One 9"
    assert bench_report.cpu_model("processor : 0\n")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--chunks", "0"], "chunks"),
        (["--warmup", "-1"], "warmup"),
        (["--steps", "0"], "steps"),
        (["--threads", "0"], "threads"),
        (["--minutes", "0"], "minutes"),
        (["--minutes", "nan"], "minutes"),
        (["--size", "64"], "size"),
        (["--size", "64x40"], "40"),
        (["--preset", "small"], "preset"),
        (["--dtype", "fp4"], "dtype"),
        (["--guidance", "-1"], "audio_guidance"),
        (["--out", "no-such-folder/bench.json"], "out"),
        (["--image", "no-such-picture.png"], "image"),
        (["--weights", "no-such-folder"], "no-such-folder"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(
    options: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = [] if "--weights" in options else ["--random"]
    try:
        code = main(["bench", *weights, *options])
    except SystemExit as stopped:  # the parser's own way of saying it
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    assert code == 2
    assert named in err
    assert err.count("\n") == 1
    assert "Stages" not in out


def test_compiling_without_a_compiler_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert main(["bench", "--random", "--compile", "on"]) == 2
    assert "C++ compiler" in capsys.readouterr().err


def test_the_table_of_a_long_stream_keeps_its_end() -> None:
    memory = [{"video_s": 60.0 * minute, "rss_bytes": 500 * MIB} for minute in range(64)]
    console = Console(file=io.StringIO(), width=80)
    console.print(bench_report._soak_table({"memory": memory}))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "63.0" in text
    assert len(text.splitlines()) < 20
