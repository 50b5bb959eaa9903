"""Operations and bytes of a stage, against closed forms and against torch's own counter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from flashtalk.engine import Architecture, FlashHeadArchitecture
from flashtalk.engine.stage_work import (
    decode_work,
    dit_speech_work,
    dit_step_work,
    encode_work,
    frames_work,
    speech_work,
)
from flashtalk.engine.work import Work
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.vae import VAEConfig, VideoVAE
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE
from flashtalk.streaming import StreamSpec, preset_spec
from tests.fakes.weights import MICRO

PUBLISHED = Architecture.flashtalk_14b()
SMALL_VAE = VAEConfig(dim=8, num_res_blocks=1)
BF16 = torch.bfloat16
SPEC = StreamSpec()


def closed_form(config: DiTConfig, tokens: int) -> tuple[int, int]:
    """Of matrix products and of attention, as a person would count them."""
    d, layers = config.dim, config.num_layers
    # Self-attention has four products; text and speech two: their keys and values are there.
    per_token = layers * (2 * d * d * (4 + 2 + 2) + 2 * 2 * d * config.ffn_dim)
    per_token += 2 * 4 * config.in_dim * d + 2 * d * 4 * config.out_dim  # patches in and out
    time = 2 * (config.freq_dim * d + d * d + 6 * d * d)
    seen = tokens + config.text_len + config.clip_tokens + config.context_tokens
    return tokens * per_token + time, layers * 4 * tokens * d * seen


@pytest.mark.parametrize(
    ("size_hw", "tokens"), [((416, 720), 10_530), ((448, 768), 12_096)], ids=str
)
def test_a_step_of_the_published_transformer(size_hw: tuple[int, int], tokens: int) -> None:
    work = dit_step_work(PUBLISHED.dit, SPEC, size_hw, BF16)
    assert (work.matrix_flops, work.attention_flops) == closed_form(PUBLISHED.dit, tokens)
    assert work.convolution_flops == 0


def test_what_others_counted_of_the_published_models() -> None:
    """394 and 84.2 tera: the design's figures of 720x416 (the latter convolutions alone)."""
    step = dit_step_work(PUBLISHED.dit, SPEC, (416, 720), BF16)
    decode = decode_work(PUBLISHED.vae, SPEC, (416, 720), BF16)
    assert step.flops == pytest.approx(394e12, rel=0.01)
    assert decode.convolution_flops == pytest.approx(84.2e12, rel=0.01)


def test_a_step_reads_each_weight_that_it_needs_once() -> None:
    config = MICRO.dit
    dit = DiT(config)
    work = dit_step_work(config, SPEC, (32, 32), BF16)
    needed = [*dit.time_embedding, *dit.time_projection, dit.patch_embedding, dit.head.head]
    block: Any
    for block in dit.blocks:
        kept = (
            block.cross_attn.k,
            block.cross_attn.v,
            block.cross_attn.k_img,
            block.cross_attn.v_img,
            block.audio_cross_attn.kv_linear,
        )
        needed += [m for m in block.modules() if m not in kept]
    weights = sum(m.weight.numel() for m in needed if isinstance(m, torch.nn.Linear))
    # The time code's layers compute in float32 whatever the weights are.
    time = sum(m.weight.numel() for m in needed[:5] if isinstance(m, torch.nn.Linear))
    weights += dit.patch_embedding.weight.numel()
    assert work.matrix_weight_bytes == 2 * weights + 2 * time


@pytest.fixture
def no_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's counter knows some kernels of a CPU's attention and not others: none is run."""
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda q, k, v: q)


def counted(call: Callable[[], object]) -> int:
    """By torch, of a run with numbers. With gradients allowed, as kernels are taken whole then."""
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        call()
    return int(counter.get_total_flops())


@pytest.mark.usefixtures("no_attention")
def test_torchs_counter_agrees_on_a_run_with_numbers() -> None:
    dit, z = DiT(MICRO.dit).to(BF16).requires_grad_(False), torch.zeros(1, 16, 9, 4, 4)
    clip = torch.zeros(1, MICRO.dit.clip_tokens, MICRO.dit.clip_dim)
    text = torch.zeros(1, MICRO.dit.text_len, MICRO.dit.text_dim)
    windows = torch.zeros(1, 33, 5, MICRO.dit.audio_blocks, MICRO.dit.audio_channels, dtype=BF16)
    y, t = torch.zeros(1, 20, 9, 4, 4), torch.ones(1)
    context, audio = dit.encode_context(clip, text), dit.encode_audio(windows)
    speech, step = (
        dit_speech_work(MICRO.dit, SPEC, BF16),
        dit_step_work(MICRO.dit, SPEC, (32, 32), BF16),
    )
    assert counted(lambda: dit.encode_audio(windows)) == speech.flops
    assert counted(lambda: dit(z, t, y, context, audio)) == step.flops - step.attention_flops


@pytest.mark.usefixtures("no_attention")
@pytest.mark.parametrize("config", [SMALL_VAE, VAEConfig.tiny()], ids=["published", "tubes"])
def test_torchs_counter_agrees_on_the_vae(config: VAEConfig) -> None:
    vae = VideoVAE(config).to(BF16).requires_grad_(False)
    z, video = torch.zeros(1, 16, 9, 2, 4, dtype=BF16), torch.zeros(1, 3, 5, 16, 32, dtype=BF16)
    decode, encode = (
        decode_work(config, SPEC, (16, 32), BF16),
        encode_work(config, SPEC, (16, 32), BF16),
    )
    assert counted(lambda: vae.decode(z)) == decode.flops - decode.attention_flops
    assert counted(lambda: vae.encode(video)) == encode.flops - encode.attention_flops


def test_work_grows_with_the_batch_and_bytes_with_the_type() -> None:
    one = dit_step_work(MICRO.dit, SPEC, (32, 32), BF16)
    two = dit_step_work(MICRO.dit, SPEC, (32, 32), BF16, batch=2)
    half, wide = (decode_work(SMALL_VAE, SPEC, (16, 32), dtype) for dtype in (BF16, torch.float32))
    assert two.flops == 2 * one.flops
    assert two.matrix_weight_bytes == one.matrix_weight_bytes
    assert wide.flops == half.flops
    assert wide.moved_bytes == 2 * half.moved_bytes


def test_works_add_up() -> None:
    work = Work(1, 2, 3, 4, 5, 6)
    assert (work.flops, work.moved_bytes) == (6, 15)
    assert work + work == work.times(2) == Work(2, 4, 6, 8, 10, 12)
    assert dataclasses.astuple(work.times(0)) == (0,) * 6


def test_speech_and_colour_have_work_too() -> None:
    speech = speech_work(MICRO.audio, SPEC)
    assert speech.convolution_flops > 0
    assert speech.attention_flops == 4 * 200 * 200 * MICRO.audio.hidden_size
    assert frames_work(SPEC, (32, 48)) == Work(activation_bytes=2 * 28 * 3 * 32 * 48 * 4)


@pytest.mark.parametrize(
    ("sizes", "preset", "expected_tflop"),
    [
        (FlashHeadArchitecture.pro(), FLASHHEAD, (155, 74, 7.0)),
        (FlashHeadArchitecture.lite(), FLASHHEAD_LITE, (14.1, 7.7, 2.1)),
    ],
)
def test_flashhead_costs_what_others_have_counted(
    sizes: FlashHeadArchitecture, preset: str, expected_tflop: tuple[float, float, float]
) -> None:
    """Four evaluations, decoding, and encoding the motion frames, at 512x512."""
    spec, size_hw = preset_spec(preset), (512, 512)
    step = dit_step_work(sizes.network, spec, size_hw, BF16)
    denoising = step.times(4) + dit_speech_work(sizes.network, spec, BF16)
    works = (
        denoising,
        decode_work(sizes.vae, spec, size_hw, BF16),
        encode_work(sizes.vae, spec, size_hw, BF16),
    )
    assert [work.flops / 1e12 for work in works] == pytest.approx(expected_tflop, rel=0.01)
