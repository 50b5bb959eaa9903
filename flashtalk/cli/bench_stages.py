"""Times of a chunk and its stages, measured in the chunk loop of `generate`.

Legend: B batch, S samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from flashtalk.arrays import Rgb
from flashtalk.cli.bench_inputs import packets
from flashtalk.engine import ChunkResult, Pipeline, Sampling, Session, advance, start, talk_on
from flashtalk.engine.stage_clock import StageClock
from flashtalk.media import Mp4Writer
from flashtalk.streaming import Pcm, chunks

# In the order of a chunk. `dit_step` is one network evaluation, measured separately; `denoise` is
# all of them, with the chunk's speech keys and values and its noise.
STAGES = ("audio", "dit_step", "denoise", "decode", "color", "motion", "h264")
_MID_SIGMA_T = 900.0
_SESSION_REPEATS = 5

Tick = Callable[[], None]


@dataclass(frozen=True)
class Talk:
    """The measured talk: one session on one pipeline.

    Args:
        pipeline: the loaded pipeline.
        portrait_HWC: any picture.
        pcm_S: sound, repeated as often as needed.
        size_hw: of the video; ``None``: the weights' default.
        sampling: steps and guidance.
    """

    pipeline: Pipeline
    portrait_HWC: Rgb
    pcm_S: Pcm
    size_hw: tuple[int, int] | None
    sampling: Sampling

    def start(self) -> Session:
        """Returns a new session with encoded portrait and prompt."""
        return start(self.pipeline, self.portrait_HWC, size_hw=self.size_hw, sampling=self.sampling)

    def packets(self, chunk_count: int) -> Iterator[Pcm]:
        """Returns the sound of that number of chunks."""
        spec = self.pipeline.spec
        return packets(self.pcm_S, chunk_count * spec.new_samples, spec.pcm_hz)


@dataclass
class Measured:
    """Seconds of every chunk, in lists of equal length.

    Args:
        stages_s: per name of ``STAGES``.
        chunks_s: from complete sound to frames in the file, without ``dit_step``.
        chunks_cpu_s: the same in processor time of all threads.
    """

    stages_s: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    chunks_s: list[float] = field(default_factory=list)
    chunks_cpu_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class SessionTimes:
    """The one-time costs of a session.

    Args:
        condition_s: encoding of portrait and prompt.
        first_frame_s: from the last packet of the first chunk's sound to its frames.
    """

    condition_s: float
    first_frame_s: float


def measure_session(talk: Talk) -> SessionTimes:
    """Starts a session and waits for its first frames."""
    began_s = time.perf_counter()
    session = talk.start()
    condition_s = time.perf_counter() - began_s
    complete_s = 0.0

    def arriving() -> Iterator[Pcm]:
        nonlocal complete_s
        for packet in talk.packets(1):
            complete_s = time.perf_counter()
            yield packet

    next(talk_on(talk.pipeline, session, arriving()))
    return SessionTimes(condition_s, time.perf_counter() - complete_s)


def measure_sessions(talk: Talk) -> list[SessionTimes]:
    """Measures a few sessions, on a warm pipeline."""
    return [measure_session(talk) for _ in range(_SESSION_REPEATS)]


def measure_chunks(talk: Talk, warmup: int, count: int, tick: Tick) -> tuple[float, Measured]:
    """Makes ``warmup + count`` chunks of one session and writes them to a temporary MP4.

    Args:
        talk: the talk to run.
        warmup: number of chunks before the measurement.
        count: number of measured chunks.
        tick: called after every chunk.

    Returns:
        Seconds of the warm-up, and the times of the measured chunks.
    """
    session, spec = talk.start(), talk.pipeline.spec
    step = dit_step(talk.pipeline, session)
    device = session.reference.z_BCFHW.device
    measured, warm_s, began_s = Measured(), 0.0, time.perf_counter()
    with (
        TemporaryDirectory() as folder,
        Mp4Writer(
            Path(folder) / "bench.mp4",
            fps=spec.fps,
            size_hw=session.reference.size_hw,
            pcm_hz=spec.pcm_hz,
        ) as writer,
    ):
        for chunk in chunks(talk.packets(warmup + count), spec):
            if chunk.index == warmup:
                warm_s, measured = time.perf_counter() - began_s, Measured()
            wall_s, cpu_s, clock = time.perf_counter(), time.process_time(), StageClock(device)
            result, session = advance(talk.pipeline, session, chunk)
            len(dict(result.timings_s))  # waits for a GPU to end the chunk
            with clock.stage("h264"):
                writer.write(result.frames_THWC, result.pcm_S)
            measured.chunks_s.append(time.perf_counter() - wall_s)
            measured.chunks_cpu_s.append(time.process_time() - cpu_s)
            with clock.stage("dit_step"):
                step()
            _note(measured, result, clock)
            tick()
    return warm_s, measured


def _note(measured: Measured, result: ChunkResult, clock: StageClock) -> None:
    for name, seconds in {**result.timings_s, **clock.timings_s}.items():
        measured.stages_s[name].append(seconds)


def dit_step(pipeline: Pipeline, session: Session) -> Callable[[], Tensor]:
    """Measures one evaluation as in the session: a batch of two under guidance."""
    denoiser, batch = pipeline.denoiser, 1 if session.sampling.audio_guidance == 1 else 2
    device = session.conditioning.y_BCFHW.device
    silence_S = np.zeros(pipeline.spec.window_samples, np.float32)
    with torch.inference_mode():
        windows_BTWLD = pipeline.audio.encode(silence_S).expand(batch, -1, -1, -1, -1)
        evaluate = denoiser.evaluation(session.conditioning, windows_BTWLD)
        x_BCFHW = torch.zeros(batch, *session.state.shape[1:], device=device)
        time = denoiser.network.embed_time(torch.full((batch,), _MID_SIGMA_T, device=device))

    @torch.inference_mode()
    def step() -> Tensor:
        return evaluate(x_BCFHW, time)

    return step
