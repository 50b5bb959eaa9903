"""The syntax of overlays, and files that cannot be one by their name or place."""

from __future__ import annotations

from pathlib import Path

import pytest

from flashtalk.errors import InputError
from flashtalk.overlays import Overlay, parse_overlays, split_overlays


@pytest.mark.parametrize(
    ("text", "path", "strength"),
    [
        ("a.safetensors", "a.safetensors", 1.0),
        ("a.safetensors:0.8", "a.safetensors", 0.8),
        ("a.safetensors:-1", "a.safetensors", -1.0),
        ("/x:y/a.pt", "/x:y/a.pt", 1.0),
        ("/x:y/a.pt:2", "/x:y/a.pt", 2.0),
        ("a.safetensors:", "a.safetensors:", 1.0),
    ],
)
def test_a_strength_is_the_number_after_the_last_colon(
    text: str, path: str, strength: float
) -> None:
    assert Overlay.parse(text) == Overlay(Path(path), strength)


@pytest.mark.parametrize("text", ["", " ", ":0.8"])
def test_an_overlay_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="FILE or FILE:STRENGTH"):
        Overlay.parse(text)


def test_settings_are_split_at_commas() -> None:
    assert split_overlays(" a:0.5, b ,") == ("a:0.5", "b")
    assert split_overlays("") == ()


def file_at(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("strength", ["0", "nan", "inf", "-101", "1e9"])
def test_an_impossible_strength_is_refused(tmp_path: Path, strength: str) -> None:
    good = file_at(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="strength other than 0") as caught:
        parse_overlays([f"{good}:{strength}"])
    assert repr(float(strength)) in str(caught.value)
    assert parse_overlays([str(good)]) == (Overlay(good),)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("multi/infinitetalk.safetensors", "speaker masks"),
        ("quant_models/infinitetalk_fp8.safetensors", "quantised"),
        ("quant_models/deeper/a.safetensors", "quantised"),
        ("a.gguf", "a file of tensors"),
        ("a.safetensors.index.json", "a file of tensors"),
        ("config", "a file of tensors"),
    ],
)
def test_files_that_cannot_be_overlays_are_refused_by_their_place(
    tmp_path: Path, place: str, reason: str
) -> None:
    path = file_at(tmp_path / place)
    with pytest.raises(InputError, match=reason) as caught:
        parse_overlays([str(path)], "start.overlay")
    assert str(caught.value).startswith(f"start.overlay: {path}: ")


def test_the_folder_multi_is_recognised_from_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_at(tmp_path / "multi" / "infinitetalk.safetensors")
    monkeypatch.chdir(path.parent)
    with pytest.raises(InputError, match="speaker masks"):
        parse_overlays([path.name])
    # A folder further up may have this name for other reasons.
    other = file_at(tmp_path / "multi" / "single" / "infinitetalk.safetensors")
    assert parse_overlays([str(other)]) == (Overlay(other),)


def test_a_json_file_beside_it_says_that_it_is_quantised(tmp_path: Path) -> None:
    path = file_at(tmp_path / "a.safetensors")
    file_at(tmp_path / "a.safetensors.json")
    assert parse_overlays([str(path)])
    file_at(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"quantised \(its \.json file\)"):
        parse_overlays([str(path)])


@pytest.mark.parametrize("path", ["absent.safetensors", "/", ".", "x" * 5_000])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(InputError, match=r"^overlays: "):
        parse_overlays([path])


def test_names_in_reports_have_the_strength() -> None:
    assert Overlay(Path("/a/b.pt")).name == "b.pt"
    assert Overlay(Path("/a/b.pt"), 0.8).name == "b.pt:0.8"
