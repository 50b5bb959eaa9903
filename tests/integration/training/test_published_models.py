"""Training from a checkpoint in the published layout: weights, types, prompts, latents, memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flashtalk.engine import FlashTalkPipeline, load_pipeline
from flashtalk.errors import InputError, WeightsError
from flashtalk.overlays import Overlay
from flashtalk.streaming.spec import StreamSpec
from tests.fakes.overlays import write_lora, write_wan
from tests.fakes.weights import MICRO, micro_pipeline, write_published_layout
from training.core.sharding import ShardPlan, fill
from training.core.world import World
from training.models import Models
from training.tasks.captions import Prompter

PRESET = "flashtalk-14b"


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


@pytest.fixture(scope="module")
def folder(pipeline: FlashTalkPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published_layout(pipeline, tmp_path_factory.mktemp("published") / "weights")


def models(folder: Path, *, bf16: bool = False, checkpointing: bool = False) -> Models:
    plan = ShardPlan(bf16, checkpointing)
    return Models.open(PRESET, folder, World.alone(), plan, architecture=MICRO)


def test_a_trained_network_has_float32_masters_and_a_frozen_one_the_type_it_computes_in(
    folder: Path, pipeline: FlashTalkPipeline
) -> None:
    made = models(folder, bf16=True, checkpointing=True)
    published = dict(pipeline.denoiser.network.named_parameters())
    for trained, dtype in ((True, torch.float32), (False, torch.bfloat16)):
        network = made.network(trained=trained)
        for name, parameter in network.named_parameters():
            plain = name.replace("_checkpoint_wrapped_module.", "")
            assert parameter.dtype == dtype
            assert parameter.requires_grad is trained
            expected = published[plain].detach().to(dtype)
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-2, atol=1e-2)
        # Whoever loads the state again must not see how it was laid out.
        assert network.state_dict().keys() == published.keys()


def test_frozen_models_say_what_the_engine_says(folder: Path) -> None:
    pipeline = load_pipeline(PRESET, folder, device="cpu", dtype="float32", architecture=MICRO)
    frozen = models(folder).frozen()
    portrait = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = torch.from_numpy(portrait).permute(2, 0, 1)[None].float() / 127.5 - 1
    reference = pipeline.codec.encode_reference(portrait).z_BCFHW
    grey = torch.zeros(1, 3, 32, 32, 32)
    z = frozen.video(torch.cat([image[:, :, None], grey], dim=2))
    torch.testing.assert_close(z, reference, rtol=1e-3, atol=1e-3)
    encoded = pipeline.encoders.embed(portrait, "A person is talking.")
    assert encoded is not None
    tokens, text = encoded
    torch.testing.assert_close(frozen.image(image), tokens.clone(), rtol=1e-3, atol=1e-3)
    opened = models(folder)
    tokenizer = opened.checkpoint.load_tokenizer()
    prompter = Prompter(opened.text(), tokenizer, torch.device("cpu"))
    said = prompter.tokens(["A person is talking.", ""])
    torch.testing.assert_close(said[:1], text.clone(), rtol=1e-3, atol=1e-3)
    assert torch.equal(said[1:], prompter.tokens([prompter.negative]))
    assert not said.requires_grad
    motion = frozen.motion_after(z, StreamSpec())
    assert motion.shape == (1, 16, 2, 4, 4)
    half = models(folder, bf16=True).frozen()
    torch.testing.assert_close(half.motion_after(z, StreamSpec()), motion, rtol=0.1, atol=0.1)


def test_the_memory_is_told_before_anything_is_loaded(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = models(folder, checkpointing=True)
    plan = made.show_memory(("student", "fake score"), ("real score",), [(32, 32)], 2, 10**9)
    shown = capsys.readouterr().err
    assert "student: master weights" in shown
    assert "real score: frozen weights" in shown
    assert plan.total < 10**8
    with pytest.raises(InputError, match=r"memory: .* use more ranks"):
        made.show_memory(("student",), (), [(32, 32)], 2, 10**3)


def test_training_starts_with_the_audio_tensors_of_an_overlay(
    pipeline: FlashTalkPipeline, tmp_path: Path
) -> None:
    base, audio = write_wan(pipeline, tmp_path)
    with pytest.raises(WeightsError, match="An audio overlay is missing"):
        models(base).network(trained=True)
    lora = write_lora(tmp_path / "lora.safetensors", pipeline.denoiser.network.state_dict())
    overlays = (Overlay(audio), Overlay(lora, 0.5))
    for given in (overlays[:1], overlays):
        opened = Models.open(
            PRESET, base, World.alone(), ShardPlan(), architecture=MICRO, overlays=given
        )
        loaded = load_pipeline(
            PRESET, base, device="cpu", dtype="float32", architecture=MICRO, overlays=given
        )
        network, expected = opened.network(trained=True), loaded.denoiser.network.state_dict()
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, expected[name]), name
        query = "blocks.0.self_attn.q.weight"
        alone = torch.equal(expected[query], pipeline.denoiser.network.state_dict()[query])
        assert alone is (len(given) == 1)


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    made = models(folder)
    state = dict(made.checkpoint.transformer_state())
    network = made.network(trained=True)
    del state["head.head.weight"]
    with pytest.raises(WeightsError, match=r"head\.head\.weight"):
        fill(network, state)
