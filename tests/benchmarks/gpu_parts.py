"""The parts of ``gpu_h100``, run one after the other in a process that may be killed at any time.

Every part's result is a line of a file as soon as it is there. A part that raises says so in its
line; one that takes the process down is left out when the next process goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flashtalk.cli import cycle_run, table4_run
from flashtalk.cli.bench_pipeline import PipelineChoice
from flashtalk.cli.bench_stages import Talk, dit_step, measure_chunks
from flashtalk.cli.call_times import CallTimes, Repeats, time_calls
from flashtalk.cli.device_memory import device_memory, reset_peak
from flashtalk.cli.peaks import Peaks, Sizes, measure_peaks
from flashtalk.cli.stage_times import stage_calls, stages_work
from flashtalk.cli.stream_start import measure_start
from flashtalk.cli.table_report import surroundings
from flashtalk.engine import Pipeline, Sampling, advance
from flashtalk.errors import InputError
from flashtalk.ops.attention import attention, available_backends
from flashtalk.streaming import AudioChunk, chunks
from tests.benchmarks.gpu_h100 import AGAIN
from tests.benchmarks.gpu_trace import traced
from tests.fakes.weights import MICRO

BF16, FP8 = "bfloat16", "float8"
Result = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Args:
        choice: the models.
        sizes_hw: of the video: what stands for 720x416, and for 768x448.
        repeats: of a stage.
        chunks: of a cycle, and those before them.
        tokens: of the attention that backends are compared with, and its heads.
        peaks: sizes for the peaks.
    """

    choice: PipelineChoice
    sizes_hw: tuple[tuple[int, int], tuple[int, int]]
    repeats: Repeats
    chunks: int
    warmup_chunks: int
    tokens: tuple[int, int]
    peaks: Sizes

    @classmethod
    def published(cls) -> Scale:
        """The 14B preset on a GPU."""
        choice = PipelineChoice("flashtalk-14b", random=True, device="cuda", precision=BF16)
        return cls(
            choice,
            ((416, 720), (448, 768)),
            Repeats(2, 8),
            5,
            2,
            (10_530, 40),
            Sizes.of(torch.device("cuda")),
        )

    @classmethod
    def rehearsal(cls) -> Scale:
        """The same on a CPU, in seconds."""
        choice = PipelineChoice(
            random=True,
            device="cpu",
            precision=BF16,
            architecture=MICRO,
            sampling=Sampling(steps=2, height_px=32, width_px=32),
            emulated=True,
        )
        return cls(
            choice,
            ((32, 32), (32, 48)),
            Repeats(1, 2),
            2,
            1,
            (64, 2),
            Sizes.of(torch.device("cpu")),
        )


class Parts:
    """All parts, by name; what one of them builds, the next ones use.

    Args:
        scale: of everything.
        folder: for traces and what parts leave each other.
    """

    def __init__(self, scale: Scale, folder: Path) -> None:
        self.scale, self.folder = scale, folder
        self._built: tuple[PipelineChoice, Pipeline] | None = None
        self._build: Result = {}
        self.builds = 0
        self._peaks: Peaks | None = None

    def run(self, name: str) -> Result:
        """One part; raises whatever goes wrong in it."""
        kind, _, rest = name.partition("-")
        if kind in ("machine", "attention"):
            part: Callable[[], Result] = {"machine": self.machine, "attention": self.attention}[
                kind
            ]
            return part()
        precision, compiled, size = rest.split("-")
        choice = dataclasses.replace(
            self.scale.choice,
            compiled=compiled == "compiled",
            precision={"bf16": BF16, "fp8": FP8}[precision],
        )
        size_hw = self.scale.sizes_hw[0 if size == "720x416" else 1]
        return {
            "stages": self.stages,
            "cycle": self.cycle,
            "error": self.error,
            "trace": self.trace,
            "graphs": self.graphs,
            "replay": self.replay,
            "algorithms": self.algorithms,
        }[kind](choice, size_hw)

    def machine(self) -> Result:
        """What it is, and its peaks."""
        return surroundings(self.scale.choice, self.peaks)

    @torch.inference_mode()
    def attention(self) -> Result:
        """Each kernel that is there, on the self-attention of one layer, and how far it is off."""
        device, (tokens, heads) = self.device, self.scale.tokens
        generator = torch.Generator(device).manual_seed(0)
        q, k, v = (
            torch.randn(1, tokens, heads, 128, device=device, generator=generator).bfloat16()
            for _ in "qkv"
        )
        exact = attention(q, k, v, backend="sdpa").float()
        flops = 4 * tokens**2 * heads * 128
        found: Result = {}
        for backend in available_backends(device):
            try:
                out: Tensor = attention(q, k, v, backend=backend)
                times = time_calls(
                    lambda backend=backend: attention(q, k, v, backend=backend),  # type: ignore[misc]
                    device,
                    self.scale.repeats,
                )
                ms = median_ms(times)
                off = float((out.float() - exact).norm() / exact.norm())
                found[backend] = {"ms": ms, "tflops_s": flops / ms / 1e9, "relative_to_sdpa": off}
            except Exception as error:
                found[backend] = {"error": _line(error)}
        return found

    def stages(self, choice: PipelineChoice, size_hw: tuple[int, int]) -> Result:
        """A row of Table 4."""
        pipeline = self.pipeline(choice)
        found = table4_run.measured(pipeline, size_hw, self.scale.repeats)
        found["work"] = stages_work(pipeline, size_hw)
        return table4_run.row_of(found, choice, 1, self.peaks) | {"build": self._build}

    def cycle(self, choice: PipelineChoice, size_hw: tuple[int, int]) -> Result:
        """Figure 6, the start of a stream, and peak memory."""
        pipeline = self.pipeline(choice)
        talk = cycle_run.talk_of(pipeline, size_hw, None)
        cold = measure_start(talk)
        found = cycle_run.measured(talk, self.scale.warmup_chunks, self.scale.chunks)
        report = cycle_run.report_of(choice, talk, self.peaks, found)
        startup = cycle_run.startup_row(0.0, cold, [measure_start(talk) for _ in range(2)])
        kept = ("setting", "stages", "cycle", "memory", "warmup_s")
        return {name: report[name] for name in kept} | {"startup": startup}

    def error(self, choice: PipelineChoice, size_hw: tuple[int, int]) -> Result:
        """How far one DiT step is from the one in bfloat16 of the same weights and inputs."""
        reference = self.folder / "step-bf16.pt"
        velocity = self._step(choice, size_hw).float().cpu()
        if choice.precision == BF16 and not choice.compiled:
            torch.save(velocity, reference)
            return {"reference": True, "std": float(velocity.std())}
        exact: Tensor = torch.load(reference)
        off = velocity - exact
        cosine = torch.nn.functional.cosine_similarity(velocity.flatten(), exact.flatten(), dim=0)
        return {
            "relative": float(off.norm() / exact.norm()),
            "largest": float(off.abs().max()),
            "cosine": float(cosine),
        }

    def trace(self, choice: PipelineChoice, size_hw: tuple[int, int]) -> Result:
        """One chunk under the profiler: the sampler's loop alone, then everything."""
        pipeline = self.pipeline(choice)
        talk: Talk = cycle_run.talk_of(pipeline, size_hw, None)
        measure_chunks(talk, 0, 1, lambda: None)
        session, chunk = talk.start(), self._chunk(talk)
        windows_BTWLD = pipeline.audio.encode(session.position.tail_S)

        def denoise() -> Tensor:
            return pipeline.denoiser.denoise(
                session.conditioning, windows_BTWLD, session.state, session.sampling
            )

        denoise()
        name = f"trace-{choice.precision}.json.gz"
        return {
            "denoise": traced(denoise, self.device, self.folder / name),
            "chunk": traced(lambda: advance(pipeline, session, chunk), self.device, None),
        }

    def graphs(self, choice: PipelineChoice, size_hw: tuple[int, int]) -> Result:
        """Into how many graphs each stage falls, and why."""
        pipeline = self.pipeline(choice)
        found: Result = {}
        for name, call in stage_calls(pipeline, size_hw).items():
            torch._dynamo.reset()
            explained: Any = torch._dynamo.explain(call)()
            found[name] = {
                "graphs": explained.graph_count,
                "breaks": explained.graph_break_count,
                "reasons": [_line(reason.reason) for reason in explained.break_reasons][:10],
            }
        torch._dynamo.reset()
        return found

    @torch.inference_mode()
    def replay(self, choice: PipelineChoice, size_hw: tuple[int, int]) -> Result:
        """One DiT step launched kernel by kernel, and replayed as one CUDA graph."""
        pipeline = self.pipeline(choice)
        step = dit_step(pipeline, cycle_run.talk_of(pipeline, size_hw, None).start())
        launched = median_ms(time_calls(step, self.device, self.scale.repeats))
        if self.device.type != "cuda":
            return {"launched_ms": launched, "replayed_ms": None}
        exact, graph = step(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            velocity = step()
        replayed = median_ms(time_calls(graph.replay, self.device, self.scale.repeats))
        off = float((velocity - exact).norm() / exact.norm())
        return {"launched_ms": launched, "replayed_ms": replayed, "relative": off}

    def algorithms(self, choice: PipelineChoice, size_hw: tuple[int, int]) -> Result:
        """The VAE with cuDNN's choice of algorithms by rule, and by trying all of them.

        What was fastest here need not be so on the next worker, and others give other bits: a
        session that goes on elsewhere has to continue with its own.
        """
        calls = stage_calls(self.pipeline(choice), size_hw)
        found: Result = {}
        for name in ("encode", "decode"):
            rows = {}
            for how, tried in (("by_rule_ms", False), ("by_trial_ms", True)):
                torch.backends.cudnn.benchmark = tried
                rows[how] = median_ms(time_calls(calls[name], self.device, self.scale.repeats))
            torch.backends.cudnn.benchmark = False
            found[name] = rows
        return found

    @property
    def device(self) -> torch.device:
        """Where everything computes."""
        return self.scale.choice.placement().device

    @property
    def peaks(self) -> Peaks:
        """Measured once."""
        if self._peaks is None:
            self._peaks = measure_peaks(self.device, self.scale.peaks)
        return self._peaks

    def pipeline(self, choice: PipelineChoice) -> Pipeline:
        """One at a time: two do not fit."""
        if self._built is None or self._built[0] != choice:
            self._built = None
            # What is compiled may hold on to weights.
            torch._dynamo.reset()
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            reset_peak(self.device)
            self.builds += 1
            began_s = time.perf_counter()
            built = choice.build()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self._build = {
                "took_s": time.perf_counter() - began_s,
                "memory": device_memory(self.device),
            }
            self._built = choice, built
        return self._built[1]

    def _step(self, choice: PipelineChoice, size_hw: tuple[int, int]) -> Tensor:
        pipeline = self.pipeline(choice)
        session = cycle_run.talk_of(pipeline, size_hw, None).start()
        return dit_step(pipeline, session)()

    def _chunk(self, talk: Talk) -> AudioChunk:
        return next(iter(chunks(talk.packets(1), talk.pipeline.spec)))


def median_ms(times: CallTimes) -> float:
    """Of some calls."""
    return 1e3 * sorted(times.calls_s)[len(times.calls_s) // 2]


def _line(error: object) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def main() -> int:
    """Runs the parts that are named; adds a line of JSON for each to the file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu_parts")
    parser.add_argument("parts", nargs="+")
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    scale = Scale.rehearsal() if args.rehearse else Scale.published()
    parts = Parts(scale, args.lines.parent)
    for name in args.parts:
        _add(args.lines, {"part": name, "began": True})
        began_s = time.perf_counter()
        try:
            line = {"part": name, "result": parts.run(name)}
        except InputError as error:
            line = {"part": name, "refused": str(error)}
        except torch.OutOfMemoryError as error:
            traceback.print_exc()
            if parts.builds > 1:
                # What an earlier part left behind may be to blame: a new process tries again.
                return AGAIN
            line = {"part": name, "error": _line(error)}
        except Exception as error:
            traceback.print_exc()
            line = {"part": name, "error": _line(error)}
        _add(args.lines, line | {"took_s": time.perf_counter() - began_s})
    return 0


def _add(path: Path, line: Result) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    sys.exit(main())
