"""Properties of the transformer that no recorded number can show."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from flashtalk.errors import InputError
from flashtalk.models.dit import AudioKV, ContextKV, DiT, DiTConfig
from flashtalk.models.dit.block import AudioAttention, ContextAttention
from flashtalk.models.transformer.attention import SelfAttention
from flashtalk.models.transformer.conditions import KeyValue
from flashtalk.models.transformer.speech import regroup_windows
from flashtalk.ops.token_slice import TokenSlice
from tests.tolerances import assert_rounded

SMALL = dataclasses.replace(DiTConfig.tiny(), dim=48, ffn_dim=64, num_heads=2, num_layers=2)
FRAMES, LATENTS, HEIGHT, WIDTH = 33, 9, 4, 6


@pytest.fixture
def dit() -> DiT:
    """Random weights everywhere: the zero head of a fresh model would hide everything."""
    model = DiT(SMALL).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


@dataclasses.dataclass
class Inputs:
    x: Tensor
    t: Tensor
    y: Tensor
    clip: Tensor
    text: Tensor
    win: Tensor

    def row(self, i: int) -> "Inputs":
        return Inputs(*(getattr(self, f.name)[i : i + 1] for f in dataclasses.fields(self)))


def inputs(batch: int) -> Inputs:
    return Inputs(
        x=torch.randn(batch, 16, LATENTS, HEIGHT, WIDTH),
        t=torch.linspace(1000, 500, batch),
        y=torch.randn(batch, 20, LATENTS, HEIGHT, WIDTH),
        clip=torch.randn(batch, SMALL.clip_tokens, SMALL.clip_dim),
        text=torch.randn(batch, 5, SMALL.text_dim),
        win=torch.randn(
            batch, FRAMES, SMALL.audio_window, SMALL.audio_blocks, SMALL.audio_channels
        ),
    )


def run(dit: DiT, given: Inputs) -> Tensor:
    context, audio = dit.encode_context(given.clip, given.text), dit.encode_audio(given.win)
    v: Tensor = dit(given.x, given.t, given.y, context, audio)
    return v


def test_caches_equal_keys_and_values_recomputed_in_every_block(dit: DiT) -> None:
    given = inputs(2)
    tokens = dit.embed_context(given.clip, given.text), dit.embed_audio(given.win)
    recomputed = dit(given.x, given.t, given.y, *tokens)
    assert_rounded(run(dit, given), recomputed)


def test_a_batch_of_two_equals_two_singles(dit: DiT) -> None:
    given = inputs(2)
    singles = torch.cat([run(dit, given.row(0)), run(dit, given.row(1))])
    assert_rounded(run(dit, given), singles)


def test_a_noise_level_embedded_before_is_the_one_embedded_there(dit: DiT) -> None:
    """All levels of a sampler in one batch, each row for a batch of any size."""
    given = inputs(2)
    context, audio = dit.encode_context(given.clip, given.text), dit.encode_audio(given.win)
    times = dit.embed_time(torch.tensor([1000.0, 625.0]))
    early = dit(given.x, times.row(1, 2), given.y, context, audio)
    assert_rounded(early, dit(given.x, torch.tensor([625.0, 625.0]), given.y, context, audio))


def test_guidance_batch_from_cat_and_expand(dit: DiT) -> None:
    given = inputs(1)
    context = dit.encode_context(given.clip, given.text)
    speech, silence = dit.encode_audio(given.win), dit.encode_audio(torch.zeros_like(given.win))
    x, t, y = (v.expand(2, *v.shape[1:]) for v in (given.x, given.t, given.y))
    both = dit(x, t, y, context.expand(2), AudioKV.cat([speech, silence]))
    for row, audio in enumerate((speech, silence)):
        alone = dit(given.x, given.t, given.y, context, audio)
        assert_rounded(both[row : row + 1], alone)
    twice = ContextKV.cat([context, context])
    for ours, theirs in zip(twice.text, context.expand(2).text, strict=True):
        assert torch.equal(ours.k, theirs.k)


def test_caches_change_dtype_and_reject_an_impossible_expansion(dit: DiT) -> None:
    given = inputs(2)
    context = dit.encode_context(given.clip, given.text).to(dtype=torch.bfloat16)
    assert {kv.k.dtype for kv in (*context.text, *context.image)} == {torch.bfloat16}
    with pytest.raises(InputError, match="batch: 3"):
        context.expand(3)


def test_a_token_hears_only_its_own_latent_frame() -> None:
    layer = AudioAttention(SMALL)
    per_frame, tokens = HEIGHT * WIDTH // 4, SMALL.context_tokens
    x = torch.randn(1, LATENTS * per_frame, SMALL.dim)
    shape = (1, LATENTS, tokens, SMALL.num_heads, SMALL.head_dim)
    audio = KeyValue(torch.randn(shape), torch.randn(shape))
    whole = TokenSlice.whole(x.shape[1])
    before = layer(x, audio, whole).unflatten(1, (LATENTS, per_frame))
    for frame in range(LATENTS):
        k, v = audio.k.clone(), audio.v.clone()
        k[:, frame] += 1.0
        v[:, frame] -= 1.0
        after = layer(x, KeyValue(k, v), whole).unflatten(1, (LATENTS, per_frame))
        changed = (after != before).flatten(2).any(dim=2)[0]
        assert changed.nonzero().flatten().tolist() == [frame]


def test_regrouping_keeps_eight_entries_per_group() -> None:
    """Entry values name (frame, offset), so the picture of the specification can be read off."""
    frame = torch.arange(FRAMES).view(1, FRAMES, 1, 1, 1) * 10
    win = frame + torch.arange(5).view(1, 1, 5, 1, 1)
    first, later = regroup_windows(win, 4)
    assert first.flatten().tolist() == [0, 1, 2, 3, 4]
    assert later.shape == (1, LATENTS - 1, 8, 1, 1)
    for group in range(LATENTS - 1):
        a = 10 * (1 + 4 * group)
        b, c, d = a + 10, a + 20, a + 30
        expected = [a, a + 1, a + 2, b + 2, c + 2, d + 2, d + 3, d + 4]
        assert later[0, group].flatten().tolist() == expected


def test_text_padding_is_zeros_and_is_attended_to(dit: DiT) -> None:
    given = inputs(1)
    padded = torch.nn.functional.pad(given.text, (0, 0, 0, SMALL.text_len - given.text.shape[1]))
    same = dataclasses.replace(given, text=padded)
    assert_rounded(run(dit, given), run(dit, same))
    layer = dit.encode_context(given.clip, given.text).text[0]
    assert layer.k.shape[1] == SMALL.text_len


def test_a_fresh_model_returns_zero_velocity_and_learns() -> None:
    model = DiT(SMALL)
    given = inputs(1)
    context, audio = model.embed_context(given.clip, given.text), model.embed_audio(given.win)
    v = model(given.x, given.t, given.y, context, audio)
    assert v.abs().max() == 0
    (v - given.x).square().mean().backward()
    gradient = model.head.head.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_every_parameter_gets_a_gradient_and_checkpointing_changes_none(dit: DiT) -> None:
    dit.requires_grad_(True)
    given = inputs(1)

    def gradients() -> dict[str, Tensor]:
        dit.zero_grad()
        context, audio = dit.embed_context(given.clip, given.text), dit.embed_audio(given.win)
        dit(given.x, given.t, given.y, context, audio).square().mean().backward()
        assert [n for n, p in dit.named_parameters() if p.grad is None] == []
        return {n: p.grad.clone() for n, p in dit.named_parameters() if p.grad is not None}

    plain = gradients()
    for index, block in enumerate(dit.blocks):
        dit.blocks[index] = Checkpointed(block)
    kept = {n.replace(".inner", ""): g for n, g in gradients().items()}
    assert kept.keys() == plain.keys()
    for name, gradient in plain.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(kept[name], gradient, atol=1e-6, rtol=1e-4)


class Checkpointed(nn.Module):
    """A block whose activations are recomputed in the backward pass."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: object) -> Tensor:
        out: Tensor = checkpoint(self.inner, *args, use_reentrant=False)
        return out


def test_the_attention_seam_is_used_by_every_attention(dit: DiT) -> None:
    given = inputs(1)
    before = run(dit, given)
    calls: list[torch.Size] = []

    def counted(core: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def core_and_note(*given: Any) -> Tensor:
            calls.append(given[0].shape)
            return core(*given)

        return core_and_note

    for module in dit.modules():
        if isinstance(module, SelfAttention | ContextAttention | AudioAttention):
            module.core = counted(module.core)
    assert torch.equal(run(dit, given), before)
    assert len(calls) == SMALL.num_layers * 4  # self, text, image, audio


def test_bfloat16_weights_stay_close_to_float32(dit: DiT) -> None:
    given = inputs(1)
    exact = run(dit, given)
    rounded = run(dit.to(torch.bfloat16), given)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_autocast_keeps_time_in_float32(dit: DiT) -> None:
    t = torch.tensor([833.33])
    time_BD, six = dit.embed_time(t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for ours, exact in zip(dit.embed_time(t), (time_BD, six), strict=True):
            assert torch.equal(ours, exact)
        given = inputs(1)
        v = run(dit, given)
    assert (v - run(dit, given)).abs().mean() < 0.05 * v.abs().mean()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"x": torch.zeros(1, 15, LATENTS, HEIGHT, WIDTH)}, "latents"),
        ({"x": torch.zeros(1, 16, LATENTS, 3, WIDTH)}, "latent size"),
        ({"y": torch.zeros(1, 20, LATENTS, HEIGHT, WIDTH + 2)}, "conditioning latents"),
        ({"clip": torch.zeros(1, 16, 128)}, "image tokens"),
        ({"text": torch.zeros(1, 33, 64)}, "text tokens"),
        ({"win": torch.zeros(1, 32, 5, 4, 96)}, "frames"),
        ({"win": torch.zeros(1, 29, 5, 4, 96)}, "latent frames of audio"),
        ({"win": torch.zeros(1, 33, 3, 4, 96)}, "audio windows"),
    ],
)
def test_misshapen_inputs_are_named(dit: DiT, change: dict[str, Tensor], field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}"):
        run(dit, dataclasses.replace(inputs(1), **change))


def test_it_compiles_as_one_graph_and_needs_no_host_value(dit: DiT) -> None:
    """``fullgraph`` fails on every read of a tensor's value by the host."""
    given = inputs(2)
    context, audio = dit.encode_context(given.clip, given.text), dit.encode_audio(given.win)
    compiled = torch.compile(dit, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        v = compiled(given.x, given.t, given.y, context, audio)
    assert_rounded(v, run(dit, given))
