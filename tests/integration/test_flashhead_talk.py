"""FlashHead folders in the published layout load and talk; wrong ones say what is wrong."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from flashtalk.arrays import Frames
from flashtalk.cli.main import main
from flashtalk.engine import (
    AudioEncoder,
    ChunkResult,
    Pipeline,
    load_pipeline,
    open_checkpoint,
    start,
    talk,
    weights_digest,
)
from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint.flashhead_layout import SPEECH_FOLDERS, Variant
from flashtalk.presets import FLASHHEAD, ORIGINS
from flashtalk.streaming import Pcm
from tests.fakes.flashhead import PRESETS, micro_flashhead, write_flashhead
from tests.fakes.published import write_published_audio
from tests.tolerances import assert_frames

PORTRAIT = np.random.default_rng(1).integers(0, 256, (90, 70, 3), dtype=np.uint8)
EXAMPLES = Path(__file__).parents[2] / "examples"
VARIANTS: tuple[Variant, ...] = ("pro", "lite")
PARTS = {
    "pro": ("Model_Pro/config.json", "VAE_Wan/Wan2.1_VAE.pth", "wav2vec2-base-960h"),
    "lite": ("Model_Lite/config.json", "VAE_LTX", "wav2vec2-base-960h"),
}


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Pipeline]:
    made: dict[str, Pipeline] = {variant: micro_flashhead(variant) for variant in VARIANTS}
    # The published folder has one speech encoder for both.
    heard = AudioEncoder(made["pro"].audio.model, made["lite"].spec, loudness=False)
    return made | {"lite": dataclasses.replace(made["lite"], audio=heard)}


@pytest.fixture(scope="module")
def both(pipelines: dict[str, Pipeline], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with both variants, as it is published."""
    folder: Path = tmp_path_factory.mktemp("published") / "SoulX-FlashHead-1_3B"
    for variant in VARIANTS:
        write_flashhead(pipelines[variant], folder, variant)
    return folder


@pytest.fixture
def copy(both: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both, tmp_path / "flashhead"))


def speech(samples: int) -> Pcm:
    return np.random.default_rng(2).normal(0, 0.05, samples).astype(np.float32)


def frames_of(results: Sequence[ChunkResult]) -> Frames:
    return np.concatenate([result.frames_THWC for result in results])


def loaded(variant: Variant, folder: Path) -> Pipeline:
    return load_pipeline(PRESETS[variant], folder, device="cpu", dtype="float32")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_folder_talks_as_the_models_that_were_written(
    variant: Variant, both: Path, pipelines: dict[str, Pipeline]
) -> None:
    pipeline, found = pipelines[variant], loaded(variant, both)
    assert found.spec == pipeline.spec
    chunk = found.spec.new_samples
    assert (found.spec.new_frames, chunk) == ((28, 17_920) if variant == "pro" else (24, 15_360))
    pcm = speech(2 * chunk + 700)
    results = list(talk(found, PORTRAIT, [pcm], seed=3))
    assert [len(r.frames_THWC) for r in results] == [found.spec.new_frames] * 2 + [2]
    assert_frames(frames_of(results), frames_of(list(talk(pipeline, PORTRAIT, [pcm], seed=3))))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("packet", [641, 20_000])
def test_packets_of_any_size_give_the_same_frames(
    variant: Variant, packet: int, pipelines: dict[str, Pipeline]
) -> None:
    pipeline = pipelines[variant]
    pcm = speech(2 * pipeline.spec.new_samples + 5_000)
    packets = [pcm[at : at + packet] for at in range(0, len(pcm), packet)]
    whole = frames_of(list(talk(pipeline, PORTRAIT, [pcm])))
    assert np.array_equal(frames_of(list(talk(pipeline, PORTRAIT, packets))), whole)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_prompt_is_refused(variant: Variant, both: Path) -> None:
    with pytest.raises(InputError, match=f"prompt.*{PRESETS[variant]} has no text encoder"):
        start(loaded(variant, both), PORTRAIT, prompt="A person is talking.")


def test_lite_refuses_sizes_that_its_latents_do_not_divide(both: Path) -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        start(loaded("lite", both), PORTRAIT, size_hw=(80, 64))
    start(loaded("pro", both), PORTRAIT, size_hw=(80, 64))


def test_the_digest_names_the_variant(both: Path) -> None:
    digests = {weights_digest(open_checkpoint(PRESETS[v], both).pieces) for v in VARIANTS}
    assert len(digests) == 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_is_the_default(variant: Variant, both: Path) -> None:
    found = load_pipeline(PRESETS[variant], both, device="cpu")
    assert str(found.denoiser.network.dtype) == "torch.bfloat16"
    frames = frames_of(list(talk(found, PORTRAIT, [speech(found.spec.new_samples)])))
    assert frames.shape == (found.spec.new_frames, 64, 64, 3)


@pytest.mark.parametrize(("variant", "part"), [(v, part) for v in VARIANTS for part in PARTS[v]])
def test_a_missing_part_is_named_with_its_origin(variant: Variant, part: str, copy: Path) -> None:
    path = copy / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(WeightsError) as caught:
        loaded(variant, copy)
    assert part in str(caught.value)
    assert ORIGINS[FLASHHEAD] in str(caught.value)
    other: Variant = "lite" if variant == "pro" else "pro"
    if "wav2vec2" not in part:
        loaded(other, copy)


def test_another_speech_encoder_of_the_same_shapes_is_refused(
    copy: Path, pipelines: dict[str, Pipeline]
) -> None:
    shutil.rmtree(copy / SPEECH_FOLDERS[0])
    write_published_audio(copy / SPEECH_FOLDERS[0], pipelines["pro"].audio.model)
    with pytest.raises(WeightsError, match=r"not wav2vec2-base-960h: no tensor lm_head\.weight"):
        loaded("pro", copy)


def test_the_speech_encoder_may_lie_beside_the_folder(copy: Path) -> None:
    (copy / SPEECH_FOLDERS[0]).rename(copy.parent / SPEECH_FOLDERS[0])
    assert open_checkpoint(PRESETS["pro"], copy).spec.new_frames == 28


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_a_network_that_does_not_fit_is_refused(change: str, copy: Path) -> None:
    """Only the tensors that are never read may be absent."""
    path = copy / "Model_Pro" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    name = "blocks.0.cross_attn.k.weight"
    if change == "missing":
        del state[name]
    elif change == "unknown":
        state["blocks.0.audio_cross_attn.proj.weight"] = state[name].clone()
    else:
        state[name] = state[name][:, 1:].contiguous()
    save_file(state, path)
    with pytest.raises(WeightsError, match=r"1 (missing|unexpected|misshapen)"):
        loaded("pro", copy)


def test_variants_are_not_mixed_up(copy: Path) -> None:
    shutil.copy(copy / "Model_Lite" / "config.json", copy / "Model_Pro" / "config.json")
    with pytest.raises(WeightsError, match=r"latent channels .* and 16"):
        open_checkpoint(PRESETS["pro"], copy)


def run_generate(*words: str | Path) -> int:
    code: int = main(["generate", *map(str, words)])
    return code


def test_generate_writes_a_video(
    both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    inputs = ("--image", EXAMPLES / "portrait.png", "--audio", EXAMPLES / "speech.wav")
    weights = ("--preset", PRESETS["lite"], "--weights", both, "--steps", "1")
    assert run_generate(*inputs, "--out", out, *weights) == 0
    assert out.stat().st_size > 1_000
    assert "real_time_factor" in capsys.readouterr().out


@pytest.mark.parametrize("variant", VARIANTS)
def test_generate_says_in_one_line_where_files_come_from(
    variant: Variant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = ("--image", EXAMPLES / "portrait.png", "--audio", EXAMPLES / "speech.wav")
    (tmp_path / "empty").mkdir()
    for folder in ((), ("--weights", tmp_path / "no"), ("--weights", tmp_path / "empty")):
        code = run_generate(
            *inputs, "--out", tmp_path / "o.mp4", "--preset", PRESETS[variant], *folder
        )
        error = capsys.readouterr().err.strip()
        assert code == 2
        assert error.count("\n") == 0
        assert ORIGINS[FLASHHEAD] in error
        assert PARTS[variant][0].split("/")[0] in error


@pytest.mark.parametrize("variant", VARIANTS)
def test_generate_refuses_a_prompt_before_weights_are_looked_for(
    variant: Variant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = ("--image", EXAMPLES / "portrait.png", "--audio", EXAMPLES / "speech.wav")
    words = ("--preset", PRESETS[variant], "--weights", tmp_path, "--prompt", "a robot")
    assert run_generate(*inputs, "--out", tmp_path / "o.mp4", *words) == 2
    assert "has no text encoder" in capsys.readouterr().err
