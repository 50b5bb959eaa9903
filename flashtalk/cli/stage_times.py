"""Separate times of encode, decode and one DiT step: the stages of the report's Table 4.

Legend: B batch, C channels, F latent frames, T video frames, H W rows and columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from flashtalk.cli.bench_inputs import portrait
from flashtalk.cli.bench_stages import dit_step
from flashtalk.cli.call_times import CallTimes, Repeats, time_calls
from flashtalk.engine import Pipeline, start
from flashtalk.engine.stage_work import decode_work, dit_step_work, encode_work
from flashtalk.engine.work import Work

STAGES = ("encode", "decode", "dit_step")
_RGB = 3


def stage_calls(pipeline: Pipeline, size_hw: tuple[int, int]) -> dict[str, Callable[[], object]]:
    """The stages as in the chunk loop, on random numbers; on ranks all call them together.

    Args:
        pipeline: the loaded pipeline.
        size_hw: of the video.
    """
    sampling = dataclasses.replace(pipeline.sampling, audio_guidance=1.0)
    session = start(pipeline, portrait(None, size_hw), size_hw=size_hw, sampling=sampling)
    z_device = session.reference.z_BCFHW.device
    generator = torch.Generator().manual_seed(0)
    shown = (1, _RGB, pipeline.spec.new_frames, *size_hw)
    video_BCTHW = (torch.rand(shown, generator=generator) * 2 - 1).to(z_device)
    z_BCFHW = torch.randn(session.state.shape, generator=generator).to(z_device)
    return {
        "encode": lambda: pipeline.codec.encode_motion(video_BCTHW),
        "decode": lambda: pipeline.codec.decode(z_BCFHW),
        "dit_step": dit_step(pipeline, session),
    }


def measure_stages(
    pipeline: Pipeline,
    size_hw: tuple[int, int],
    repeats: Repeats,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, CallTimes]:
    """Measures each stage; ``tick`` is called after each."""
    device = next(pipeline.denoiser.network.parameters()).device
    times: dict[str, CallTimes] = {}
    for name, call in stage_calls(pipeline, size_hw).items():
        times[name] = time_calls(call, device, repeats)
        tick()
    return times


def stages_work(pipeline: Pipeline, size_hw: tuple[int, int]) -> dict[str, Work]:
    """Returns their work, in their compute dtypes."""
    dit, vae, spec = pipeline.denoiser.network, pipeline.codec.vae, pipeline.spec
    of_vae = next(vae.parameters()).dtype
    return {
        "encode": encode_work(vae.config, spec, size_hw, of_vae),
        "decode": decode_work(vae.config, spec, size_hw, of_vae),
        "dit_step": dit_step_work(dit.config, spec, size_hw, dit.dtype),
    }


def slowest(ranks: list[dict[str, CallTimes]]) -> dict[str, CallTimes]:
    """Merges the times of ranks that called everything together: the slowest rank counts."""
    return {
        name: CallTimes(
            max(times[name].warmup_s for times in ranks),
            tuple(map(max, zip(*(times[name].calls_s for times in ranks), strict=True))),
        )
        for name in ranks[0]
    }
