"""The published transformer's own numbers (tests/goldens/dit_tiny) and its parameter names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.transformer.noise_level import time_code
from flashtalk.ops.rope import rope_table
from tests.fakes.golden_models import golden_dit
from tests.tolerances import PUBLISHED

GOLDENS = Path(__file__).parents[2] / "goldens"

Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_file(GOLDENS / "dit_tiny.safetensors")


@pytest.fixture(scope="module")
def notes() -> dict[str, dict[str, object]]:
    parsed: dict[str, dict[str, object]] = json.loads((GOLDENS / "dit_tiny.json").read_text())
    return parsed


@pytest.fixture(scope="module")
def dit() -> DiT:
    return golden_dit()


def speech(golden: Golden) -> Tensor:
    return golden["in.audio_q8"].float() / 32


def velocity(dit: DiT, golden: Golden, time: str, windows: Tensor) -> Tensor:
    context = dit.encode_context(golden["in.clip_fea_q8"].float() / 32, golden["in.context"][None])
    audio = dit.encode_audio(windows)
    v: Tensor = dit(golden["in.x"][None], golden[time], golden["in.y"], context, audio)
    return v


@pytest.mark.parametrize("case", ["t1", "t2"])
def test_velocity_matches_the_published_model(dit: DiT, golden: Golden, case: str) -> None:
    v = velocity(dit, golden, f"in.{case}", speech(golden))
    torch.testing.assert_close(v, golden[f"out.{case}"], atol=PUBLISHED, rtol=0)


def taps(dit: DiT, run: Callable[[], object], names: dict[str, str]) -> Golden:
    """Outputs of the named submodules while ``run`` runs."""
    seen: Golden = {}

    def recorder(tap: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _inputs, output: seen.__setitem__(tap, output)

    handles = [
        dit.get_submodule(path).register_forward_hook(recorder(tap)) for tap, path in names.items()
    ]
    run()
    for handle in handles:
        handle.remove()
    return seen


def test_every_tap_matches_the_published_model(dit: DiT, golden: Golden) -> None:
    paths = {
        "tap.audio_proj": "audio_proj",
        "tap.img_emb": "img_emb",
        "tap.text_embedding": "text_embedding",
        "tap.patch_embedding": "patch_embedding",
        "tap.block0.self_attn": "blocks.0.self_attn",
        "tap.block0.cross_attn": "blocks.0.cross_attn",
        "tap.block0.audio_cross_attn": "blocks.0.audio_cross_attn",
        "tap.block0": "blocks.0",
        "tap.block1": "blocks.1",
        "tap.head": "head",
    }
    seen = taps(dit, lambda: velocity(dit, golden, "in.t1", speech(golden)), paths)
    expected = golden | {
        "tap.patch_embedding": golden["tap.patch_embedding"].flatten(2).transpose(1, 2)
    }
    seen["tap.time_embedding"], six = dit.embed_time(golden["in.t1"])
    seen["tap.time_projection"] = six.flatten(1)
    assert seen.keys() == {name for name in golden if name.startswith("tap.")}
    worst = {name: (v - expected[name]).abs().max().item() for name, v in seen.items()}
    assert max(worst.values()) < PUBLISHED, worst


def test_the_rope_table_is_the_published_one(golden: Golden) -> None:
    real, imag = golden["aux.freqs_real"], golden["aux.freqs_imag"]
    rows, pairs = real.shape
    table = rope_table((rows, 1, 1), 2 * pairs, torch.device("cpu"))
    time_pairs = pairs - 2 * (2 * pairs // 6)
    torch.testing.assert_close(table.cos_NP[:, :time_pairs], real[:, :time_pairs].float())
    torch.testing.assert_close(table.sin_NP[:, :time_pairs], imag[:, :time_pairs].float())


def test_the_window_entry_that_regrouping_drops_changes_nothing(
    dit: DiT, golden: Golden, notes: dict[str, dict[str, object]]
) -> None:
    """Frame 4 closes the first group of four: the left half of its window is not used."""
    sensitivity = notes["report"]["sensitivity_meanabs"]
    assert isinstance(sensitivity, dict)
    assert sensitivity["audio_dropped_entry(frame4,offset-2)"] == 0.0
    before = velocity(dit, golden, "in.t1", speech(golden))
    dropped, kept = speech(golden), speech(golden)
    dropped[:, 4, 0] += 3.0
    kept[:, 4, 2] += 3.0
    assert torch.equal(velocity(dit, golden, "in.t1", dropped), before)
    assert (velocity(dit, golden, "in.t1", kept) - before).abs().mean() > 1e-3


def test_parameters_of_the_14b_preset_equal_the_manifest() -> None:
    manifest = json.loads((GOLDENS / "manifest_dit_14b.json").read_text())
    with torch.device("meta"):
        model = DiT(DiTConfig.flashtalk_14b())
    ours = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert ours == {name: entry["shape"] for name, entry in manifest["tensors"].items()}
    assert sum(p.numel() for p in model.parameters()) == manifest["total_elements"]


def test_the_published_config_is_the_14b_preset() -> None:
    manifest = json.loads((GOLDENS / "manifest_dit_14b.json").read_text())
    published = manifest["notes"]["registered_config"] | {"_class_name": "WanModel"}
    assert DiTConfig.from_dict(published) == DiTConfig.flashtalk_14b()


def test_the_time_code_is_cosines_then_sines() -> None:
    code = time_code(torch.tensor([0.0, 1000.0]), 8)
    torch.testing.assert_close(code[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(
        code[1, 4:].double(),
        torch.tensor([1000.0, 100.0, 10.0, 1.0], dtype=torch.float64).sin(),
        atol=1e-6,
        rtol=0,
    )
