"""Every recipe runs from the command line at toy size, resumes, and exports what loads again."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from flashtalk.diffusion.schedule import sigmas
from flashtalk.engine import denoiser
from flashtalk.engine.load import load_pipeline
from flashtalk.engine.talk import talk
from flashtalk.models.checkpoint import load_state
from tests.fakes.overlays import is_audio
from tests.integration.training.conftest import TINY
from training.core.checkpoint import find_run_checkpoint
from training.core.config import Gate
from training.core.sharding import ShardPlan
from training.core.world import World
from training.data.clips import video_from_frames
from training.data.synthtalk import SynthTalk
from training.evaluate.pipeline import open_pipeline
from training.models import Models
from training.recipes import RECIPES
from training.recipes.registry import find_recipe
from training.train import EXIT_GATE, EXIT_INPUT, main

PLAIN: dict[str, Any] = {"device": "cpu", "dtype": "float32", "changes": {}}


def train(recipe: str, data_dir: Path, run_dir: Path, *overrides: str) -> int:
    return main(
        [
            "--recipe",
            recipe,
            "--smoke",
            "--run-dir",
            str(run_dir),
            "--data",
            str(data_dir),
            "--weights",
            str(run_dir.parent / "weights"),
            "trainer.threads=1",
            *overrides,
        ]
    )


def test_the_recipes_together_make_a_pipeline_that_talks(trained: Path, data_dir: Path) -> None:
    pipeline = load_pipeline("tiny", trained)
    assert pipeline.sampling.size_hw == (32, 32)
    portrait = SynthTalk(data_dir / "val").clip(0, 0, 1).frames[0]
    packets = [np.zeros(30 * 640, np.float32)]
    frames = np.concatenate([chunk.frames_THWC for chunk in talk(pipeline, portrait, packets)])
    assert frames.shape == (30, 32, 32, 3)
    assert frames.std() > 5  # three steps of training, but the VAE's linear path shows a face


def test_the_vae_carries_the_statistics_of_its_latents(trained: Path, data_dir: Path) -> None:
    frozen = Models.open("tiny", trained, World.alone(), ShardPlan()).frozen()
    source = SynthTalk(data_dir / "train")
    clips = [video_from_frames(source.clip(i, s, 33).frames) for i in (0, 1) for s in (0, 40)]
    z = frozen.video(torch.cat(clips))
    assert z.mean((0, 2, 3, 4)).abs().max() < 0.7
    assert z.std() == pytest.approx(1.0, abs=0.3)
    assert not any(p.requires_grad for p in frozen.vae.parameters())


@pytest.mark.parametrize("recipe", [r.name for r in RECIPES if r.name not in TINY])
def test_smoke_of_the_recipes_that_build_on_those(
    recipe: str, trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "weights")
    assert train(recipe, data_dir, tmp_path / "run") == 0
    assert find_run_checkpoint(tmp_path / "run", recipe) is not None


@pytest.mark.parametrize("recipe", ["tiny_distill", "flashtalk_14b_distill"])
def test_a_student_is_evaluated_with_the_steps_and_the_shift_that_it_is_made_for(
    recipe: str, trained: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set()

    def noted(steps: int, shift: float) -> tuple[float, ...]:
        asked.add((steps, shift))
        return sigmas(steps, shift)

    monkeypatch.setattr(denoiser, "sigmas", noted)
    shutil.copytree(trained, tmp_path / "weights")
    chosen = ["matching.exits.steps=2", "matching.shift=3"]
    assert train(recipe, data_dir, tmp_path / "run", *chosen) == 0
    assert asked == {(2, 3.0)}
    role = {"tiny_distill": "student", "flashtalk_14b_distill": "student_14b"}[recipe]
    if recipe == "tiny_distill":
        performer = open_pipeline("tiny", tmp_path / "weights" / role, **PLAIN)
    else:  # the student is a transformer that takes another's place, with settings beside it
        performer = open_pipeline("tiny", trained, transformer=tmp_path / "weights" / role, **PLAIN)
    assert (performer.sampling.steps, performer.sampling.shift) == (2, 3.0)


def test_a_student_of_another_teacher_in_the_folder(
    trained: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a rate of zero the student is the teacher."""
    weights = tmp_path / "weights"
    shutil.copytree(trained, weights)
    finished = load_state(weights / "dit")
    shutil.copytree(weights / "dit", weights / "teacher")
    options = ["lr=0", "schedule.steps=1"]
    assert train("tiny_distill", data_dir, tmp_path / "run", "setup.teacher=nobody", *options) == 2
    assert "nobody" in capsys.readouterr().err
    changed = {name: tensor + 1e-3 for name, tensor in finished.items()}
    save_file(changed, weights / "teacher" / "diffusion_pytorch_model.safetensors")
    assert train("tiny_distill", data_dir, tmp_path / "run", "setup.teacher=teacher", *options) == 0
    student = load_state(weights / "student" / "dit")
    for name, tensor in changed.items():
        assert torch.equal(student[name], tensor), name


def test_stage_1_starts_with_an_overlay(
    trained: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder whose transformer knows no speech, and the file that adds it. With a rate of zero
    the result is the whole transformer."""
    weights = tmp_path / "weights"
    shutil.copytree(trained, weights)
    whole = load_state(trained / "dit")
    audio = tmp_path / "audio.safetensors"
    save_file({name: tensor for name, tensor in whole.items() if is_audio(name)}, audio)
    base = {name: tensor for name, tensor in whole.items() if not is_audio(name)}
    save_file(base, weights / "dit" / "diffusion_pytorch_model.safetensors")
    options = ["lr=0", "schedule.steps=1"]
    assert train("flashtalk_14b_sft", data_dir, tmp_path / "run", *options) == EXIT_INPUT
    assert "An audio overlay is missing" in capsys.readouterr().err
    options.append(f"start.overlay={audio}")
    assert train("flashtalk_14b_sft", data_dir, tmp_path / "run", *options) == 0
    result = load_state(weights / "stage1")
    assert result.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(result[name], tensor.bfloat16()), name
    # Stage 2 needs no overlay: that transformer is whole.
    options = ["schedule.steps=1", "setup.teacher=stage1"]
    assert train("flashtalk_14b_distill", data_dir, tmp_path / "run2", *options) == 0


def test_overlays_are_refused_by_the_name_of_their_field(
    trained: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "weights")
    for recipe, reason in (
        ("flashtalk_14b_sft", "no such file"),
        ("tiny_sft", "not with random networks"),
    ):
        absent = f"start.overlay={tmp_path / 'absent.pt'}"
        assert train(recipe, data_dir, tmp_path / recipe, absent) == EXIT_INPUT
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "overlay" in line]
        assert "start.overlay: " in line
        assert reason in line


@pytest.mark.parametrize("recipe", ["tiny_vae", "tiny_sft", "tiny_distill", "flashtalk_14b_sft"])
def test_smoke_in_bfloat16_as_on_a_cpu_that_has_it(
    recipe: str, trained: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every CPU, at these sizes: those without the instructions only take longer."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    shutil.copytree(trained, tmp_path / "weights")
    assert train(recipe, data_dir, tmp_path / "run", "bf16=true") == 0
    assert json.loads((tmp_path / "run/config.json").read_text())["bf16"] is True
    checkpoint = find_run_checkpoint(tmp_path / "run", recipe)
    assert checkpoint is not None
    assert all(bool(torch.isfinite(tensor).all()) for tensor in checkpoint.read().values())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "recipe", ["tiny_vae", "tiny_audio", "tiny_identity", "tiny_sft", "tiny_distill"]
)
def test_a_run_cut_short_and_resumed_ends_with_the_same_weights(
    recipe: str, optimizer: str, trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    def run(name: str, *budget: str) -> dict[str, Any]:
        weights = tmp_path / name / "weights"
        if not weights.exists():
            shutil.copytree(trained, weights)
        run_dir = tmp_path / name / "run"
        assert (
            train(
                recipe,
                data_dir,
                run_dir,
                f"optimizer.name={optimizer}",
                "schedule.decay=constant",
                "warmup_ratio=0",
                *budget,
            )
            == 0
        )
        checkpoint = find_run_checkpoint(run_dir, recipe)
        assert checkpoint is not None
        return {"step": checkpoint.values["step"], **checkpoint.read()}

    whole = run("whole")
    # The schedule goes by steps: a smoke run told to end after two differs in its decay only, so
    # constant rates make the two runs comparable.
    assert run("broken", "schedule.steps=2")["step"] == 2
    broken = run("broken")
    assert whole["step"] == broken["step"]
    assert whole.keys() == broken.keys()
    for name in whole.keys() - {"step"}:
        assert torch.equal(whole[name], broken[name]), name


@pytest.mark.parametrize(
    ("recipe", "role"),
    [
        ("tiny_vae", "vae"),
        ("tiny_audio", "wav2vec2"),
        ("tiny_identity", "clip"),
        ("tiny_sft", "dit"),
    ],
)
def test_a_run_starts_from_finished_weights(
    recipe: str, role: str, trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    """With a rate of zero the run ends where the weights began."""
    weights = tmp_path / "weights"
    shutil.copytree(trained, weights)
    shutil.rmtree(weights / role)
    if recipe != "tiny_sft":
        shutil.rmtree(weights / "dit")
    options = ["lr=0", "schedule.steps=1", "--start-from", str(trained)]
    assert train(recipe, data_dir, tmp_path / "run", *options) == 0
    began, ended = load_state(trained / role), load_state(weights / role)
    assert began.keys() == ended.keys()
    for name, tensor in began.items():
        assert torch.equal(tensor, ended[name]), name


def test_a_decoder_learns_alone_and_latents_stay_what_they_were(
    trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    options = [
        "frozen_encoder=true",
        "reencode=1",
        "schedule.steps=4",
        "--start-from",
        str(trained),
    ]
    assert train("tiny_vae", data_dir, tmp_path / "run", *options) == 0
    began, ended = load_state(trained / "vae"), load_state(tmp_path / "weights" / "vae")
    moved = {name for name, tensor in began.items() if not torch.equal(tensor, ended[name])}
    assert any(name.startswith("decoder.") for name in moved)
    assert not any(name.startswith(("encoder.", "conv1.", "bypass_encoder.")) for name in moved)
    configs = [(f / "vae" / "config.json").read_text() for f in (trained, tmp_path / "weights")]
    assert configs[0] == configs[1]


def test_a_frozen_encoder_needs_one(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("tiny_vae", data_dir, tmp_path / "run", "frozen_encoder=true") == EXIT_INPUT
    assert "frozen_encoder" in capsys.readouterr().err


def test_a_start_that_is_not_there_is_named(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--start-from", str(tmp_path / "nothing")]
    assert train("tiny_vae", data_dir, tmp_path / "run", *options) == EXIT_INPUT
    assert "--start-from" in capsys.readouterr().err


def test_stage_1_names_the_recipe_that_has_to_run_first(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("tiny_sft", data_dir, tmp_path / "run") == EXIT_INPUT
    assert "run recipe tiny_vae" in capsys.readouterr().err


def test_the_run_leaves_pictures_metrics_and_its_config(data_dir: Path, tmp_path: Path) -> None:
    assert train("tiny_vae", data_dir, tmp_path / "run", "schedule.steps=1", "kl=1e-3") == 0
    run_dir = tmp_path / "run"
    for name in ("reconstruction.png", "drift.png", "tensorboard"):
        assert (run_dir / name).exists()
    metrics = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    assert metrics["step"] == 1
    assert metrics["psnr_db"] > 10
    assert json.loads((run_dir / "config.json").read_text())["kl"] == 1e-3


def test_help_lists_every_recipe_and_list_every_field(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    listing = capsys.readouterr().out
    for recipe in RECIPES:
        assert recipe.name in listing
        assert recipe.summary in listing
    for recipe in RECIPES:
        assert main(["--recipe", recipe.name, "--list"]) == 0
        fields = capsys.readouterr().out.split()
        assert {
            "trainer.optimizer.lr",
            "trainer.schedule.steps",
            "batch" if recipe.name != "tiny_vae" else "mse",
        } <= {*fields}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "tiny_vea"], "one of tiny_vae"),
        (["--recipe", "tiny_vae", "lrr=1"], "did you mean trainer.optimizer.lr"),
        (["--recipe", "tiny_vae", "schedule.steps=many"], "must be an integer"),
        (["--recipe", "tiny_vae", "steps=5"], "trainer.schedule.steps, trainer.cadence"),
        (["--recipe", "tiny_vae", "schedule_by=time"], "did you mean trainer.schedule.by"),
        (["--recipe", "tiny_vae", "--minutes", "0"], "must be > 0"),
        (["--recipe", "tiny_vae", "schedule.by=time"], "minutes"),
        (["--recipe", "tiny_vae", "--data", "nowhere"], "rendered split"),
    ],
)
def test_bad_arguments_end_with_one_line_that_names_them(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--run-dir", str(tmp_path / "run")]) == EXIT_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_run_that_does_not_learn_ends_with_its_own_exit_code(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = find_recipe("tiny_vae", RECIPES)
    blind = dataclasses.replace(recipe.smoke().trainer, gates=(Gate(1, "psnr_db", 99.0),))
    smoke = dataclasses.replace(recipe.smoke(), trainer=blind)  # type: ignore[type-var]
    gated = dataclasses.replace(recipe, smoke=lambda: smoke)
    monkeypatch.setattr("training.train.RECIPES", (gated,))
    code = train("tiny_vae", data_dir, tmp_path / "run", "evaluate.steps=1")
    assert code == EXIT_GATE
