"""Models from states: strict, one copy, real buffers; the same outputs as the model saved."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flashtalk.errors import WeightsError
from flashtalk.models.checkpoint import build, load_state
from flashtalk.models.clip import ClipConfig, ClipVision
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.umt5 import TextConfig, TextEncoder
from flashtalk.models.vae import VAEConfig, VideoVAE
from flashtalk.models.wav2vec2 import AudioConfig, Wav2Vec2Features
from tests.tolerances import assert_rounded

IDS = torch.arange(6)[None]
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor]]] = {
    "wav2vec2": (
        lambda: Wav2Vec2Features(AudioConfig.tiny()),
        lambda m: m(torch.linspace(-1, 1, 16_000).sin()[None], 25),
    ),
    "clip": (
        lambda: ClipVision(ClipConfig.tiny()),
        lambda m: m(torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)),
    ),
    "umt5": (
        lambda: TextEncoder(TextConfig.tiny()),
        lambda m: m(IDS, torch.ones_like(IDS)),
    ),
}


def pair() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize("name", CASES)
def test_a_built_model_computes_what_the_saved_one_does(name: str, tmp_path: Path) -> None:
    factory, run = CASES[name]
    saved = factory().eval()
    save_file(saved.state_dict(), tmp_path / "model.safetensors")
    built = build(factory, load_state(tmp_path))
    with torch.no_grad():
        # Weights that are mapped from a file lie elsewhere, and kernels may ask where.
        assert_rounded(run(built), run(saved))
    assert not built.training
    assert not any(p.requires_grad for p in built.parameters())
    assert not any(t.is_meta for t in [*built.parameters(), *built.buffers()])


@pytest.mark.parametrize(
    "factory",
    [
        *[factory for factory, _ in CASES.values()],
        lambda: DiT(DiTConfig.tiny()),
        lambda: VideoVAE(VAEConfig.tiny()),
    ],
    ids=[*CASES, "dit", "vae"],
)
def test_every_weight_gets_the_wanted_type_and_nothing_stays_meta(
    factory: Callable[[], nn.Module],
) -> None:
    built = build(factory, factory().state_dict(), dtype=torch.bfloat16)
    tensors = [*built.parameters(), *built.buffers()]
    assert not any(t.is_meta for t in tensors)
    assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.bfloat16}


def test_the_files_may_go_away(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    saved = pair()
    save_file(saved.state_dict(), path)
    built = build(pair, load_state(path))
    path.write_bytes(b"")
    for name, tensor in built.state_dict().items():
        assert torch.equal(tensor, saved.state_dict()[name])


def test_weights_are_the_models_own() -> None:
    state = pair().state_dict()
    built = build(pair, state, trainable=True)
    with torch.no_grad():
        built.get_parameter("0.weight").add_(1)
    assert not torch.equal(built.get_parameter("0.weight"), state["0.weight"])
    assert all(p.requires_grad for p in built.parameters())
    assert not built.training


def test_integers_keep_their_type() -> None:
    built = build(pair, pair().state_dict(), dtype=torch.float16)
    assert built.get_buffer("1.num_batches_tracked").dtype == torch.int64


def test_all_differences_come_in_one_error() -> None:
    state = pair().state_dict()
    del state["0.bias"]
    state |= {"0.weight": torch.zeros(2, 3), "2.gamma": torch.zeros(1)}
    with pytest.raises(WeightsError) as caught:
        build(pair, state, source="FILE")
    message = str(caught.value)
    assert message.startswith("FILE does not fit Sequential: ")
    assert "1 missing (0.bias)" in message
    assert "1 unexpected (2.gamma)" in message
    assert "1 misshapen (0.weight [2, 3] instead of [3, 2])" in message


def test_long_lists_are_cut_and_counted() -> None:
    state = pair().state_dict() | {f"extra{i:02}": torch.zeros(1) for i in range(25)}
    with pytest.raises(WeightsError, match=r"25 unexpected \(.*extra09 and 15 more\)"):
        build(pair, state)


def test_only_what_is_ignored_may_be_in_excess() -> None:
    state = pair().state_dict() | {"head.w": torch.zeros(1), "scale": torch.zeros(1)}
    build(pair, state, ignore=("head.", "scale"))
    with pytest.raises(WeightsError, match="unexpected"):
        build(pair, state, ignore=("head", "scale"))


def test_buffers_without_a_value_are_an_error() -> None:
    class Forgetful(nn.Linear):
        def __init__(self) -> None:
            super().__init__(1, 1)
            self.register_buffer("table", torch.arange(3), persistent=False)

    class Careful(Forgetful):
        def reset_buffers(self) -> None:
            self.table = torch.arange(3)

    state = nn.Linear(1, 1).state_dict()
    with pytest.raises(WeightsError, match="table"):
        build(Forgetful, state)
    assert build(Careful, state).get_buffer("table").tolist() == [0, 1, 2]
