"""Merging: plain tensors add and override, LoRA files add their products, the rest is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import Merged, build, check_state, merge, on_meta, read_overlay
from flashtalk.models.checkpoint.merged_state import LowRank, MergedState
from flashtalk.models.dit import DiT
from flashtalk.overlays import Overlay
from tests.fakes.overlays import NAMINGS, is_audio, lora_pair, lora_tensors, write_lora
from tests.fakes.weights import MICRO

LAYERS = (
    "blocks.0.self_attn.q",
    "blocks.1.self_attn.o",
    "blocks.0.cross_attn.k",
    "blocks.1.cross_attn.k_img",
    "blocks.1.cross_attn.v_img",
    "blocks.0.ffn.0",
    "blocks.1.ffn.2",
)


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {n: t.shape for n, t in on_meta(lambda: DiT(MICRO.dit)).state_dict().items()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def merged(state: dict[str, Tensor], *overlays: Overlay) -> Merged:
    return merge(state, [(overlay, read_overlay(overlay)) for overlay in overlays])


def saved(path: Path, tensors: dict[str, Tensor], strength: float = 1.0) -> Overlay:
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return Overlay(path, strength)


def shapes_of(state: dict[str, Tensor], layers: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {layer: tuple(state[f"{layer}.weight"].shape) for layer in layers}


def same(one: Merged, other: dict[str, Tensor]) -> bool:
    return one.state.keys() == other.keys() and all(
        one.state[name].dtype == tensor.dtype and torch.equal(one.state[name], tensor)
        for name, tensor in other.items()
    )


def test_added_tensors_make_the_whole_network(state: dict[str, Tensor], tmp_path: Path) -> None:
    base = {name: tensor for name, tensor in state.items() if not is_audio(name)}
    audio = {name: tensor for name, tensor in state.items() if is_audio(name)}
    found = merged(base, saved(tmp_path / "audio.safetensors", audio))
    assert same(found, state)
    assert [(e.kind, e.changed, e.added) for e in found.effects] == [("tensors", 0, len(audio))]
    network = build(lambda: DiT(MICRO.dit), found.state)
    assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())
    with pytest.raises(WeightsError, match=f"{len(audio)} missing"):
        check_state(network, base)


def test_a_torch_file_is_an_overlay_too(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"head.head.bias": state["head.head.bias"] + 1}, tmp_path / "a.pth")
    found = merged(state, Overlay(tmp_path / "a.pth"))
    assert torch.equal(found.state["head.head.bias"], state["head.head.bias"] + 1)


def test_the_last_overlay_counts(state: dict[str, Tensor], tmp_path: Path) -> None:
    name = "blocks.0.self_attn.q.weight"
    one = saved(tmp_path / "1.safetensors", {name: state[name] + 1})
    two = saved(tmp_path / "2.safetensors", {name: state[name] + 2})
    lora = Overlay(write_lora(tmp_path / "lora.safetensors", state))
    assert torch.equal(merged(state, one, two).state[name], state[name] + 2)
    assert torch.equal(merged(state, two, one).state[name], state[name] + 1)
    down, up = lora_pair(tuple(state[name].shape), 2, 0)
    changed = state[name] + 1 + 0.5 * (up @ down)
    assert torch.equal(merged(state, one, lora).state[name], changed)
    # Replaced afterwards: nothing is left of the LoRA in this tensor, and the others have it.
    replaced = merged(state, lora, one)
    assert torch.equal(replaced.state[name], state[name] + 1)
    other = "blocks.1.self_attn.q.weight"
    assert not torch.equal(replaced.state[other], state[other])


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(("alpha", "strength"), [(None, 1.0), (1.0, 1.0), (3.0, 0.8), (2.0, -0.5)])
def test_a_lora_adds_its_products(
    naming: str,
    alpha: float | None,
    strength: float,
    state: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    shapes = shapes_of(state, LAYERS)
    tensors = lora_tensors(shapes, NAMINGS[naming], alpha=alpha)
    found = merged(state, saved(tmp_path / "lora.safetensors", tensors, strength))
    expected = dict(state)
    for number, (layer, shape) in enumerate(shapes.items()):
        down, up = lora_pair(shape, 2, number)
        scale = strength * (2 if alpha is None else alpha) / 2
        expected[f"{layer}.weight"] = state[f"{layer}.weight"] + scale * (up @ down)
    assert same(found, expected)
    assert found.effects[0][1:] == ("LoRA, rank 2", len(LAYERS), 0)


def test_a_lora_is_added_in_float32_and_rounded_once(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    """Two of them too: the second is added to a sum that is not rounded yet."""
    half = {name: tensor.bfloat16() for name, tensor in state.items()}
    name = "blocks.0.self_attn.q.weight"
    down, up = lora_pair(tuple(state[name].shape), 2, 0)
    stored = {n: t.bfloat16() for n, t in (("down", down), ("up", up))}
    tensors = {NAMINGS["bare"](name.removesuffix(".weight"), n): t for n, t in stored.items()}
    lora = saved(tmp_path / "lora.safetensors", tensors, 1 / 3)
    change = 1 / 3 * (stored["up"].float() @ stored["down"].float())
    for count in (1, 2):
        expected = half[name].float()
        for _ in range(count):
            expected = expected + change
        found = merged(half, *[lora] * count).state[name]
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, expected.bfloat16())


def test_a_convolution_has_a_lora_too(state: dict[str, Tensor], tmp_path: Path) -> None:
    name = "patch_embedding"
    weight = state[f"{name}.weight"]
    assert weight.ndim == 5
    down, up = lora_pair(tuple(weight.shape), 3, 0)
    tensors = {NAMINGS["diffusion_model"](name, "down"): down}
    tensors[NAMINGS["diffusion_model"](name, "up")] = up
    found = merged(state, saved(tmp_path / "lora.safetensors", tensors)).state[f"{name}.weight"]
    expected = weight + torch.einsum("or,r...->o...", up.flatten(1), down)
    torch.testing.assert_close(found, expected)


def test_differences_are_added(state: dict[str, Tensor], tmp_path: Path) -> None:
    layer = "diffusion_model.blocks.0.self_attn"
    tensors = {
        f"{layer}.norm_q.diff": torch.full((32,), 2.0),
        f"{layer}.q.diff_b": torch.full((32,), 4.0),
        "diffusion_model.blocks.0.ffn.0.diff": torch.ones(32, 32),
        "diffusion_model.blocks.1.modulation.diff": torch.full((1, 6, 32), 6.0),
    }
    found = merged(state, saved(tmp_path / "a.safetensors", tensors, 0.5))
    expected = dict(state)
    for name, added in (("self_attn.norm_q.weight", 1), ("self_attn.q.bias", 2)):
        expected[f"blocks.0.{name}"] = state[f"blocks.0.{name}"] + added
    expected["blocks.1.modulation"] = state["blocks.1.modulation"] + 3
    expected["blocks.0.ffn.0.weight"] = state["blocks.0.ffn.0.weight"] + 0.5
    assert same(found, expected)
    assert found.effects[0].kind == "differences"
    pair = lora_tensors(shapes_of(state, LAYERS[:1]), NAMINGS["diffusion_model"], alpha=1)
    deep = lora_tensors(shapes_of(state, LAYERS[1:2]), NAMINGS["bare"], rank=5, alpha=1)
    both = merged(state, saved(tmp_path / "b.safetensors", tensors | pair | deep))
    assert both.effects[0][1:] == ("LoRA, ranks 2 to 5", 6, 0)


def test_nothing_is_computed_for_names_and_shapes(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else loading would compute the whole network twice, or hold it in memory."""
    overlay = Overlay(write_lora(tmp_path / "lora.safetensors", state))
    computed: list[torch.Size] = []
    value = LowRank.value

    def counted(pair: LowRank, shape: torch.Size) -> Tensor:
        computed.append(shape)
        return value(pair, shape)

    monkeypatch.setattr(LowRank, "value", counted)
    found = merged(state, overlay).state
    assert isinstance(found, MergedState)
    check_state(on_meta(lambda: DiT(MICRO.dit)), found)
    assert "head.head.bias" in found
    assert len(found) == len(state)
    assert computed == []
    build(lambda: DiT(MICRO.dit), found)
    assert len(computed) == 4


Q = "blocks.0.self_attn.q"
A, B = torch.ones(2, 32), torch.ones(32, 2)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({f"{Q}.lora_A.weight": A}, [f"A without B: {Q}"]),
        ({f"{Q}.lora_up.weight": B}, [f"B without A: {Q}"]),
        ({f"{Q}.alpha": torch.tensor(1.0)}, [f"alpha without A and B: {Q}"]),
        (
            {"lora_unet_blocks_7_self_attn_q.lora_down.weight": A, f"{Q}.lora_B.weight": B},
            ["no such layer: lora_unet_blocks_7_self_attn_q.lora_down.weight", "B without A"],
        ),
        (
            {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": torch.ones(32, 3)},
            [f"{Q} (A [2, 32], B [32, 3], weight [32, 32])"],
        ),
        (
            {f"{Q}.lora_A.weight": torch.ones(2, 31), f"{Q}.lora_B.weight": B},
            ["shapes that do not fit", "A [2, 31]"],
        ),
        (
            {f"{Q}.lora_A.weight": torch.ones(0, 32), f"{Q}.lora_B.weight": torch.ones(32, 0)},
            ["A [0, 32]"],
        ),
        ({f"{Q}.lora_A.weight": torch.ones(2), f"{Q}.lora_B.weight": B}, ["A [2]"]),
        (
            {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B, f"{Q}.dora_scale": torch.ones(32)},
            [f"not understood: {Q}.dora_scale"],
        ),
        (
            {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B, f"{Q}.alpha": torch.ones(2)},
            [f"alpha is not a number: {Q}"],
        ),
        (
            {
                f"{Q}.lora_A.weight": A,
                f"{Q}.lora_B.weight": B,
                f"{Q}.alpha": torch.tensor(float("nan")),
            },
            [f"alpha is not a number: {Q}"],
        ),
        (
            {
                f"{Q}.lora_A.weight": A,
                f"{Q}.lora_B.weight": B,
                f"diffusion_model.{Q}.lora_A.weight": A,
            },
            ["twice: "],
        ),
        (
            {"blocks.0.modulation.lora_A.weight": A, "blocks.0.modulation.lora_B.weight": B},
            ["blocks.0.modulation (A [2, 32], B [32, 2], weight [])"],
        ),
        ({f"{Q}.diff": torch.ones(3, 3)}, [f"{Q}.weight [3, 3]"]),
        ({"blocks.0.self_attn.norm_q.diff_b": torch.ones(32)}, ["norm_q.bias [32]"]),
    ],
)
def test_a_lora_that_does_not_fit_is_refused_in_one_error(
    tensors: dict[str, Tensor], says: list[str], state: dict[str, Tensor], tmp_path: Path
) -> None:
    overlay = saved(tmp_path / "lora.safetensors", tensors)
    with pytest.raises(WeightsError, match="does not fit the network") as caught:
        merged(state, overlay)
    assert all(text in str(caught.value) for text in (*says, str(overlay.path)))


@pytest.mark.parametrize(
    "tensors",
    [
        {f"{Q}.weight": torch.ones(32, 32, dtype=torch.int8)},
        {f"{Q}.weight": torch.ones(32, 32).to(torch.float8_e4m3fn)},
        {f"{Q}.weight": torch.ones(32, 32), f"{Q}.weight_scale": torch.ones(1)},
        {f"{Q}.weight._data": torch.ones(32, 32), f"{Q}.weight._scale": torch.ones(1)},
        {f"{Q}.weight": torch.ones(32, 32), f"{Q}.scale": torch.ones(1)},
        {f"{Q}.weight": torch.ones(32, 32), "scaled_fp8": torch.ones(1)},
        {f"{Q}.lora_A.weight": A.to(torch.int8), f"{Q}.lora_B.weight": B},
    ],
)
def test_quantised_files_are_refused(
    tensors: dict[str, Tensor], state: dict[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="a quantised file"):
        merged(state, saved(tmp_path / "a.safetensors", tensors))


def test_an_integer_alpha_is_no_sign_of_that(state: dict[str, Tensor], tmp_path: Path) -> None:
    tensors = {
        f"{Q}.lora_A.weight": A,
        f"{Q}.lora_B.weight": B,
        f"{Q}.alpha": torch.tensor(4),
    }
    found = merged(state, saved(tmp_path / "a.safetensors", tensors)).state[f"{Q}.weight"]
    assert torch.equal(found, state[f"{Q}.weight"] + 4.0)


def test_an_overlay_that_changes_nothing_is_refused(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    some = {name: state[name] for name in list(state)[:3]}
    nothing = [
        {},
        some,
        {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B * 0},
        {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B, f"{Q}.alpha": torch.tensor(0.0)},
        {f"{Q}.diff": torch.zeros(32, 32)},
    ]
    for number, tensors in enumerate(nothing):
        overlay = saved(tmp_path / f"{number}.safetensors", tensors)
        with pytest.raises(WeightsError, match="changes nothing"):
            merged(state, overlay)
    one = dict(some)
    one[next(iter(some))] = one[next(iter(some))] + 1
    overlay = saved(tmp_path / "one.safetensors", one)
    assert merged(state, overlay).effects[0].changed == 3
    with pytest.raises(WeightsError, match="there already"):
        merged(state, overlay, overlay)
    half = saved(tmp_path / "half.safetensors", {n: t.bfloat16() for n, t in some.items()})
    assert merged(state, half).state[next(iter(some))].dtype == torch.bfloat16


def test_plain_tensors_have_no_strength(state: dict[str, Tensor], tmp_path: Path) -> None:
    overlay = saved(tmp_path / "a.safetensors", {f"{Q}.weight": torch.ones(32, 32)}, 0.8)
    with pytest.raises(InputError, match="only a LoRA has a strength"):
        merged(state, overlay)


def test_damaged_files_are_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.pth"):
        (tmp_path / name).write_bytes(b"no tensors at all")
        with pytest.raises(WeightsError, match=name):
            merged(state, Overlay(tmp_path / name))
    torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "nested.pth")
    with pytest.raises(WeightsError, match="not a flat state dict"):
        merged(state, Overlay(tmp_path / "nested.pth"))


def test_unknown_and_misshapen_tensors_are_left_to_the_strict_check(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors = {"vocal.weight": torch.ones(1), f"{Q}.bias": torch.ones(3)}
    found = merged(state, saved(tmp_path / "a.safetensors", tensors))
    with pytest.raises(WeightsError, match=r"1 unexpected \(vocal\.weight\); 1 misshapen"):
        check_state(on_meta(lambda: DiT(MICRO.dit)), found.state)


def test_overlay_files_are_not_touched(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = write_lora(tmp_path / "lora.safetensors", state)
    before = {name: tensor.clone() for name, tensor in load_file(path).items()}
    kept = {name: tensor.clone() for name, tensor in state.items()}
    dict(merged(state, Overlay(path)).state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_file(path).items())
    assert all(torch.equal(tensor, kept[name]) for name, tensor in state.items())
