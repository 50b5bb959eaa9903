"""`flashtalk bench` on random weights: every number that it promises, and numbers that agree."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flashtalk.cli import bench_run, bench_stages
from flashtalk.cli.bench_inputs import packets, portrait, sound
from flashtalk.cli.bench_soak import MIB, Soak, soak
from flashtalk.cli.bench_stages import STAGES, Talk, dit_step, measure_chunks, measure_session
from flashtalk.cli.main import main
from flashtalk.engine import Pipeline, Sampling, random_pipeline, stage_clock
from flashtalk.streaming import Pcm
from tests.fakes.overlays import write_lora
from tests.fakes.weights import micro_pipeline, write_own

SIZE_HW = (48, 32)
QUICK = ("--random", "--size", "32x48", "--chunks", "2", "--warmup", "1", "--steps", "2")


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return random_pipeline()


def talk_of(pipeline: Pipeline, **sampling: Any) -> Talk:
    pcm = sound(None, pipeline.spec.pcm_hz)
    return Talk(pipeline, portrait(None), pcm, SIZE_HW, Sampling(steps=2, **sampling))


def bench_json(tmp_path: Path, *options: str) -> dict[str, Any]:
    target = tmp_path / "bench.json"
    assert main(["bench", *QUICK, "--out", str(target), *options]) == 0
    report: dict[str, Any] = json.loads(target.read_text())
    return report


def test_weights_with_overlays_are_measured_and_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = micro_pipeline()
    weights = write_own(made, tmp_path / "micro")
    lora = write_lora(tmp_path / "lora.safetensors", made.denoiser.network.state_dict())
    target = tmp_path / "bench.json"
    quick = ["--chunks", "1", "--warmup", "0", "--out", str(target), "--device", "cpu"]
    words = ["bench", *quick, "--weights", str(weights), "--overlay", f"{lora}:0.5"]
    assert main(words) == 0
    setting = json.loads(target.read_text())["setting"]
    assert setting["weights"] == "micro + lora.safetensors:0.5"
    capfd.readouterr()
    for table in ((), ("table4",)):
        assert main(["bench", *table, "--random", "--overlay", str(lora)]) == 2
        assert "overlays: lora.safetensors: not with random" in capfd.readouterr().err


def test_table_and_json_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = bench_json(tmp_path, "--minutes", "0.05")
    shown = capsys.readouterr().out
    setting, chunk = report["setting"], report["chunk"]
    assert report["stages"].keys() == set(STAGES)
    assert all(0 < t["p50_ms"] <= t["p95_ms"] for t in report["stages"].values())
    assert all(t["count"] == 2 for t in report["stages"].values())
    assert (setting["width_px"], setting["height_px"], setting["steps"]) == (32, 48, 2)
    assert setting["weights"] == "random"
    assert set(setting["dtype"].values()) <= {"float32", "bfloat16"}
    assert setting["threads"] >= 1
    assert report["machine"]["cpu_cores"] >= 1
    assert report["machine"]["memory_bytes"] > 1 << 30
    assert {"python", "torch", "flashtalk"} <= report["versions"].keys()
    assert chunk["fps"] * chunk["real_time_factor"] == pytest.approx(25)
    assert report["startup"]["warmup_s"] > 0
    assert report["memory"]["peak_rss_bytes"] > 100 * MIB
    assert report["soak"]["video_s"] == pytest.approx(3.0)
    assert report["soak"]["flat"]
    for times in (*report["stages"].values(), {"p50_ms": 1e3 * chunk["p50_s"]}):
        assert f"{times['p50_ms']:.1f}" in shown
    assert f"{chunk['fps']:.1f}" in shown


def test_guidance_and_types_are_run_as_asked(tmp_path: Path) -> None:
    setting = bench_json(tmp_path, "--guidance", "3", "--dtype", "bf16")["setting"]
    assert setting["audio_guidance"] == 3
    assert setting["dtype"]["dit"] == setting["dtype"]["vae"] == "bfloat16"


class Work(TorchDispatchMode):
    """A clock that moves with what is computed, one second per number: the same on every machine.

    Stands for the module ``time`` where times are taken.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done_s = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [result] if isinstance(result, Tensor) else []
        self.done_s += sum(tensor.numel() for tensor in made)
        return result

    def perf_counter(self) -> float:
        return self.done_s

    process_time = perf_counter


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """All times of a benchmark are taken from this clock."""
    with Work() as clock:
        for module in (bench_stages, stage_clock):
            monkeypatch.setattr(module, "time", clock)
        yield clock


def test_the_stages_of_a_chunk_make_up_its_time(pipeline: Pipeline, work: Work) -> None:
    ticks: list[None] = []
    warm_s, measured = measure_chunks(talk_of(pipeline), 1, 3, lambda: ticks.append(None))
    assert warm_s > 0
    assert len(ticks) == 4
    assert len(measured.chunks_s) == len(measured.chunks_cpu_s) == 3
    parts = sum(np.array(measured.stages_s[name]) for name in STAGES if name != "dit_step")
    shares = parts / np.array(measured.chunks_s)
    assert (shares <= 1).all()
    assert (shares > 0.8).all()


@pytest.mark.parametrize(("guidance", "batch"), [(1.0, 1), (3.0, 2)])
def test_the_step_on_its_own_is_the_sessions(
    pipeline: Pipeline, guidance: float, batch: int
) -> None:
    session = talk_of(pipeline, audio_guidance=guidance).start()
    velocity = dit_step(pipeline, session)()
    assert velocity.shape == (batch, *session.state.shape[1:])
    assert velocity.isfinite().all()


def test_a_session_is_timed_from_its_last_packet(pipeline: Pipeline, work: Work) -> None:
    """Sound that takes long to arrive is not counted as waiting for the first frame."""

    class SlowTalk(Talk):
        def packets(self, chunk_count: int) -> Iterator[Pcm]:
            for packet in super().packets(chunk_count):
                work.done_s += 1e12
                yield packet

    talk = talk_of(pipeline)
    at_once = measure_session(talk)
    slow = SlowTalk(pipeline, talk.portrait_HWC, talk.pcm_S, SIZE_HW, talk.sampling)
    began_s = work.done_s
    times = measure_session(slow)
    count = len(list(packets(talk.pcm_S, pipeline.spec.new_samples, pipeline.spec.pcm_hz)))
    assert work.done_s - began_s > 1e12 * count
    assert times == at_once
    assert times.condition_s > 0
    assert times.first_frame_s > 0


def test_a_long_stream_has_every_frame_of_its_sound(pipeline: Pipeline) -> None:
    lengths: list[float] = []
    found = soak(talk_of(pipeline), 0.05, lengths.append)
    assert found.video_s == lengths[-1] == pytest.approx(3.0)
    assert len(lengths) == 3  # 75 frames: 28, 28 and 19
    assert 0 < found.slowest_chunk_s <= found.wall_s
    assert all(point.rss_bytes > 100 * MIB for point in found.memory)


def test_memory_that_grew_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leaky(talk: Talk, minutes: float, tick: Callable[[float], None]) -> Soak:
        found = soak(talk, minutes, tick)
        return Soak(found.video_s, found.wall_s, found.slowest_chunk_s, found.memory, 900 * MIB)

    monkeypatch.setattr(bench_run, "soak", leaky)
    assert main(["bench", *QUICK, "--minutes", "0.02"]) == bench_run.MEMORY_GREW
    assert "grew by more than" in capsys.readouterr().out
