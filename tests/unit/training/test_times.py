"""Computed training times against the report's Table 2 and the arithmetic of a transformer."""

from __future__ import annotations

import dataclasses
import functools
import json

import pytest

from flashtalk.models.dit.config import DiTConfig
from training import times
from training.times import Cluster, evaluation_flops, main, stage1_hours, stage2_hours

# 32 H20; what one sustains is an assumption.
H20S = Cluster(ranks=32, tflops=80.0, vae_s=1.5)


def test_the_operations_of_the_published_transformer() -> None:
    """The specification infers 3.9e14 from the report's latency at 416x720."""
    assert evaluation_flops(DiTConfig.flashtalk_14b(), (720, 416)) == pytest.approx(
        3.9e14, rel=0.03
    )


def test_operations_follow_layers_and_tokens() -> None:
    """Per layer the same; attention among all tokens makes them grow faster than the picture."""
    config = DiTConfig.tiny()

    def flops(layers: int, size_hw: tuple[int, int]) -> int:
        return evaluation_flops(dataclasses.replace(config, num_layers=layers), size_hw)

    small = [times._flops(dataclasses.replace(config, num_layers=n), (96, 96)) for n in (1, 2, 3)]
    assert small[2] - small[1] == small[1] - small[0] > 0
    assert flops(3, (96, 96)) == small[2]
    large = [times._flops(dataclasses.replace(config, num_layers=n), (192, 192)) for n in (1, 2)]
    layer = {96: small[1] - small[0], 192: large[1] - large[0]}
    assert 4.0 < layer[192] / layer[96] < 16.0


@pytest.mark.parametrize(("chunks", "reported"), [(1, 2.33), (3, 4.40), (5, 6.40)])
def test_the_hours_of_table_2(chunks: int, reported: float) -> None:
    hours = stage2_hours(
        390_000_000_000_000, H20S, turns=200, batch=32, chunks=[chunks], previous="same"
    )
    assert hours == pytest.approx(reported, rel=0.08)


def test_hours_are_affine_in_the_mean_of_k() -> None:
    def hours(chunks: list[int]) -> float:
        return stage2_hours(10**14, H20S, turns=200, batch=32, chunks=chunks)

    one, three, five = (hours([k]) for k in (1, 3, 5))
    assert five - three == pytest.approx(three - one)
    assert hours([1, 2, 3, 4, 5]) == pytest.approx(three)


def test_twice_the_devices_take_half_the_time() -> None:
    twice = dataclasses.replace(H20S, ranks=64)
    for machine, part in ((H20S, 1), (twice, 2)):
        stage1 = stage1_hours(10**14, machine, steps=1000, batch=32) * part
        stage2 = stage2_hours(10**14, machine, turns=200, batch=32, chunks=[3]) * part
        assert stage1 == pytest.approx(stage1_hours(10**14, H20S, steps=1000, batch=32))
        assert stage2 == pytest.approx(stage2_hours(10**14, H20S, turns=200, batch=32, chunks=[3]))


def test_kept_activations_save_an_evaluation() -> None:
    kept = dataclasses.replace(H20S, checkpointing=False)
    ratio = stage1_hours(10**14, kept, steps=1, batch=1) / stage1_hours(
        10**14, H20S, steps=1, batch=1
    )
    assert ratio == pytest.approx(3 / 4)


def test_the_command_prints_every_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Counted once for both forms.
    monkeypatch.setattr(times, "evaluation_flops", functools.cache(evaluation_flops))
    assert main(["--json", "--size", "192x192"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["hours"]) == 5
    assert main(["--size", "192x192"]) == 0
    shown = capsys.readouterr().out
    for row, hours in found["hours"].items():
        assert row in shown
        assert f"{hours:.2f}" in shown


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--ranks", "0"),
        ("--tflops", "0"),
        ("--tflops", "nan"),
        ("--vae-s", "-1"),
        ("height", "7x7"),
    ],
)
def test_bad_input_is_named(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = "--size" if option == "height" else option
    assert main([given, value]) == 2
    assert option in capsys.readouterr().err
