"""Settings beside the weights: they survive the file, and a wrong one is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.engine.sampling import SAMPLERS, Sampling, load_sampling, save_sampling
from flashtalk.errors import InputError, WeightsError

settings_of_any_kind = st.builds(
    Sampling,
    steps=st.integers(1, 100),
    shift=st.floats(0.5, 20),
    sampler=st.sampled_from(SAMPLERS),
    audio_guidance=st.floats(0, 10),
    color_strength=st.floats(0, 1),
    height_px=st.integers(16, 1024),
    width_px=st.integers(16, 1024),
    prompt=st.text(),
)


@given(sampling=settings_of_any_kind)
def test_settings_survive_their_file(
    sampling: Sampling, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    save_sampling(sampling, folder)
    assert load_sampling(folder) == sampling


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("steps", True),
        ("height_px", -16),
        ("shift", "5"),
        ("color_strength", 1.1),
        ("audio_guidance", -1),
        ("audio_guidance", float("nan")),
        ("sampler", "ddim"),
        ("prompt", None),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        Sampling.from_dict({field: value})


@pytest.mark.parametrize("content", [None, "", "[]", "1", '{"stesp": 4}', '{"steps": "4"}'])
def test_a_wrong_file_is_a_weights_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "pipeline.json").write_text(content)
    with pytest.raises(WeightsError, match=r"pipeline\.json"):
        load_sampling(tmp_path)


def test_the_file_is_readable_json(tmp_path: Path) -> None:
    save_sampling(Sampling(prompt="说话"), tmp_path)
    text = (tmp_path / "pipeline.json").read_text(encoding="utf-8")
    assert "说话" in text
    assert json.loads(text)["steps"] == 4
