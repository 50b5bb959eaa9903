"""Weights that are drawn where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from flashtalk.engine import FlashTalkPipeline, random_pipeline, talk
from flashtalk.engine.device_weights import StandInTokens, drawn
from flashtalk.errors import WeightsError
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.dit.model import DiT
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from tests.fakes.weights import MICRO, MICRO_SAMPLING

CPU = torch.device("cpu")
FACTORIES = {
    "dit": lambda: DiT(MICRO.dit),
    "vae": lambda: VideoVAE(MICRO.vae),
    "wav2vec2": lambda: Wav2Vec2Features(MICRO.audio),
    "clip": lambda: ClipVision(MICRO.clip),
    "umt5": lambda: TextEncoder(MICRO.text),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_seed_names_the_bits(name: str) -> None:
    factory: Any = FACTORIES[name]
    one, again, other = (drawn(factory, CPU, torch.bfloat16, seed) for seed in (5, 5, 6))
    assert all(map(torch.equal, one.parameters(), again.parameters()))
    assert not all(map(torch.equal, one.parameters(), other.parameters()))
    assert all(p.dtype == torch.bfloat16 and not p.requires_grad for p in one.parameters())
    assert not one.training


@pytest.mark.parametrize("name", FACTORIES)
def test_what_is_computed_and_not_drawn_is_as_ever(name: str) -> None:
    factory: Any = FACTORIES[name]
    made, ever = drawn(factory, CPU, torch.float32, 0), factory()
    expected = dict(ever.named_buffers())
    assert dict(made.named_buffers()).keys() == expected.keys()
    for buffer, value in made.named_buffers():
        assert torch.equal(value, expected[buffer])
    shapes = {key: tensor.shape for key, tensor in ever.state_dict().items()}
    assert {key: tensor.shape for key, tensor in made.state_dict().items()} == shapes


class Made(TorchDispatchMode):
    """Bytes of all tensors that get memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not result.is_meta:
            storage = result.untyped_storage()
            if storage.data_ptr() not in self._seen:
                self._seen.add(storage.data_ptr())
                self.bytes += storage.nbytes()
        return result


def test_memory_holds_the_weights_and_nothing_beside_them() -> None:
    with Made() as made:
        dit = drawn(FACTORIES["dit"], CPU, torch.bfloat16, 0)
    assert made.bytes <= sum(p.numel() * 2 for p in dit.parameters())


def test_gains_are_1_biases_0_and_products_keep_their_scale() -> None:
    vae = drawn(lambda: VideoVAE(MICRO.vae), CPU, torch.float32, 0)
    dit = drawn(lambda: DiT(MICRO.dit), CPU, torch.float32, 0)
    for name, parameter in (*vae.named_parameters(), *dit.named_parameters()):
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif name.endswith("gamma") or "norm" in name:
            assert (parameter == 1).all(), name
    block: Any = dit.blocks[0]
    assert block.ffn[0].weight.std() == pytest.approx(MICRO.dit.dim**-0.5, rel=0.1)
    assert dit.head.head.weight.any()


@pytest.mark.parametrize("persistent", [True, False])
def test_a_model_with_a_value_of_its_own_is_refused(persistent: bool) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.arange(3), persistent=persistent)

    with pytest.raises(WeightsError, match="table"):
        drawn(Counting, CPU, torch.float32, 0)


def spoken(pipeline: FlashTalkPipeline) -> np.ndarray[Any, np.dtype[np.uint8]]:
    portrait_HWC = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pcm_S = np.random.default_rng(1).normal(0, 0.1, pipeline.spec.new_samples).astype(np.float32)
    return next(iter(talk(pipeline, portrait_HWC, [pcm_S]))).frames_THWC


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_drawn_pipeline_talks(dtype: str) -> None:
    pipelines = [
        random_pipeline(
            MICRO, sampling=MICRO_SAMPLING, dtype=dtype, encoders=encoders, on_device=True
        )
        for encoders in (True, False)
    ]
    for pipeline in pipelines:
        frames_THWC = spoken(pipeline)
        assert frames_THWC.shape == (28, 32, 32, 3)
        assert frames_THWC.std() > 5
    assert isinstance(pipelines[1].encoders.text, StandInTokens)
    tokens_BND, text_BND = pipelines[1].encoders.embed(np.zeros((32, 32, 3), np.uint8), "")
    assert tokens_BND.shape == (1, MICRO.dit.clip_tokens, MICRO.dit.clip_dim)
    assert text_BND.shape == (1, MICRO.dit.text_len, MICRO.dit.text_dim)


def test_on_a_cpu_the_weights_are_those_of_ever() -> None:
    """What tests and recordings stand on does not change with how a GPU gets its weights."""
    torch.manual_seed(3)
    expected = DiT(MICRO.dit).patch_embedding.weight
    made = random_pipeline(MICRO, sampling=MICRO_SAMPLING, seed=3).denoiser.network
    assert torch.equal(made.patch_embedding.weight, expected)
