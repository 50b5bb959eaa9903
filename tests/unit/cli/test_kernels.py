"""`flashtalk doctor` finds kernels that compute wrongly, and checks all that the engine uses."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from flashtalk.cli import doctor, doctor_report, kernels
from flashtalk.cli.kernels import LIMITS, Checked, check_kernels
from flashtalk.engine import FlashTalkPipeline
from flashtalk.models.wav2vec2 import AudioConfig, Wav2Vec2Features
from flashtalk.ops import widened
from tests.fakes.called_convolutions import Called, CalledConvolutions
from tests.fakes.golden_models import golden_ltx_vae
from tests.fakes.weights import micro_pipeline


class Planted(CalledConvolutions):
    """The first tap of some convolutions is lost, as some CPUs lose parts of sums."""

    def __init__(self, which: Callable[[Called], bool]) -> None:
        super().__init__()
        self.which = which

    def planted(self, called: Called, result: Tensor) -> Tensor:
        return result * 0.75 if self.which(called) else result


def run_doctor(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["doctor", *arguments])
    code: int = args.run(args)
    return code


def is_half(called: Called) -> bool:
    return called.dtype == torch.bfloat16


@pytest.fixture
def half_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with instructions for bfloat16, whose kernels are used."""
    monkeypatch.setattr(widened, "EMULATES_BF16", False)


def test_every_used_kernel_is_right_here() -> None:
    """If this fails, the machine's kernels are wrong and the engine has to avoid one more form."""
    checked = check_kernels("cpu")
    assert [found for found in checked if found.harmful] == []
    assert {found.dtype for found in checked} == {"float32", "bfloat16"}


@pytest.mark.usefixtures("half_kernels")
def test_a_wrong_kernel_that_is_used_is_found_and_named() -> None:
    # This machine may have wrong ones of its own, as those with AMX do.
    before = {(found.form, found.dtype) for found in check_kernels("cpu") if not found.right}
    with Planted(lambda c: is_half(c) and c.kernel == (3, 3, 3)):
        checked = check_kernels("cpu")
    wrong = [f for f in checked if not f.right and (f.form, f.dtype) not in before]
    assert {(found.form, found.dtype) for found in wrong} >= {("convolution 3x3x3", "bfloat16")}
    assert all("3x3x3" in found.form for found in wrong)
    assert all(found.harmful for found in wrong)
    assert wrong[0].error == pytest.approx(0.25, abs=LIMITS[torch.bfloat16])


def test_a_wrong_kernel_that_is_avoided_does_no_harm() -> None:
    """As on processors with AMX."""
    with Planted(lambda c: is_half(c) and c.groups > 1):
        wrong = [found for found in check_kernels("cpu") if not found.right]
        code = run_doctor("--json")
    assert wrong
    assert all("groups" in found.form and not found.harmful for found in wrong)
    assert code == 0


def test_float32_itself_is_checked() -> None:
    with Planted(lambda c: c.dtype == torch.float32 and len(c.kernel) > 1):
        wrong = [found for found in check_kernels("cpu") if not found.right]
    assert any(found.dtype == "float32" and found.harmful for found in wrong)


def test_numbers_that_are_none_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "silu", lambda x, inplace=False: x / 0 * 0)
    monkeypatch.setattr(
        kernels, "_FORMS", (kernels.Form("SiLU", "VAE", ((4, 4),), lambda x: F.silu(x)),)
    )
    found = check_kernels("cpu")[0]
    assert found.error == float("inf")
    assert found.harmful


def test_a_kernel_that_refuses_is_said_to(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(x: Tensor) -> Tensor:
        raise RuntimeError("no such kernel")

    (found, _) = check_kernels("cpu", (kernels.Form("any", "all", ((1,),), refuse),))
    assert found.refusal == "RuntimeError"
    assert found.harmful


@pytest.mark.usefixtures("half_kernels")
def test_the_report_says_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    with Planted(lambda c: is_half(c) and len(c.kernel) != 1):
        assert run_doctor("--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert {found["form"] for found in report["kernels"] if not found["right"]}
    console = Console(file=io.StringIO(), width=80)
    wrong = Checked("convolution 3x3x3", "VAE", "cpu", "bfloat16", 0.21, 0.02, used=True)
    avoided = Checked("convolution 128", "Wav2Vec2", "cpu", "bfloat16", 0.3, 0.02, used=False)
    doctor_report._show_kernels([wrong, avoided], console)
    assert isinstance(console.file, io.StringIO)
    text = " ".join(console.file.getvalue().split())
    assert "0.210" in text
    assert "ONEDNN_MAX_CPU_ISA" in text
    assert "0 of 2" in text
    assert max(map(len, console.file.getvalue().splitlines())) <= 80


def form_of(called: Called) -> tuple[object, ...]:
    """What makes one kernel another: taps, strides, groups, and whether one channel comes in."""
    return (called.kernel, called.stride, called.groups > 1, called.in_channels == 1)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_no_convolution_of_the_engine_is_left_out(kind: torch.dtype) -> None:
    """Whatever the models ask torch for is among the checked forms, in both precisions."""
    pipeline: FlashTalkPipeline = micro_pipeline()
    vae, audio = pipeline.codec.vae.to(kind), Wav2Vec2Features(AudioConfig.tiny()).to(kind)
    ltx_vae = golden_ltx_vae().to(kind)
    with CalledConvolutions() as checked, torch.no_grad():
        check_kernels("cpu")
    with CalledConvolutions() as called, torch.no_grad():
        vae.decode(vae.encode(torch.randn(1, 3, 9, 32, 32).to(kind)))
        ltx_vae.decode(ltx_vae.encode(torch.randn(1, 3, 9, 32, 64).to(kind)))
        pipeline.encoders.clip.to(kind)(torch.randn(1, 3, 40, 40))
        audio(torch.randn(1, 16_000), 25)
    assert called.seen
    assert {form_of(c) for c in called.seen} <= {form_of(c) for c in checked.seen}
    assert not any(c.transposed for c in called.seen)
