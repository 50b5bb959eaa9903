"""Portraits: every mode and rotation is read, the size rule is the published one to the byte."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file

from flashtalk.errors import InputError
from flashtalk.media import cover, decode_image, oriented_size, read_image
from flashtalk.media.image import Box, around_face

RGB = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("golden", ["resize", "flashhead/image"])
def test_the_size_rule_is_the_published_one_to_the_byte(goldens: Path, golden: str) -> None:
    tensors = load_file(goldens / f"{golden}.safetensors")
    cases = json.loads((goldens / f"{golden}.json").read_text())["cases"]
    for case in cases:
        name = f"case{case['case']}"
        height, width = case["target"]
        found = cover(tensors[f"{name}.image_u8_hwc"], (height, width))
        expected = tensors[f"{name}.out_u8_13_1HW"][0, :, 0].transpose(1, 2, 0)
        assert np.array_equal(found, expected), name


def test_heads_and_shoulders_are_cropped_as_published(goldens: Path) -> None:
    folder = goldens / "flashhead"
    tensors = load_file(folder / "image.safetensors")
    for face in json.loads((folder / "image.json").read_text())["faces"]:
        found = around_face(tensors["face.image_u8_hwc"], face["relative_box_x1y1x2y2"], 64)
        assert np.array_equal(found, tensors[f"face{face['face']}.out_u8_hwc"])


@pytest.mark.parametrize("face", [(0.5, 0, 0.4, 1), (-0.1, 0, 0.5, 1), (0, 0, 1e-4, 1e-4)])
def test_a_box_outside_of_the_picture_is_refused(face: Box) -> None:
    with pytest.raises(InputError, match="face"):
        around_face(RGB, face)


@settings(deadline=None, max_examples=50)
@given(*(st.integers(16, 90) for _ in range(4)))
def test_any_picture_covers_any_size(high: int, wide: int, height: int, width: int) -> None:
    picture = np.full((high, wide, 3), (9, 99, 199), np.uint8)
    covered = cover(picture, (height, width))
    assert covered.shape == (height, width, 3)
    assert (covered == picture[0, 0]).all()


def saved(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def test_plain_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    assert np.array_equal(read_image(saved(tmp_path / "a.png", Image.fromarray(RGB))), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_in_exif_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = Image.new("RGB", (40, 60), (200, 30, 30))
    upright.paste((30, 30, 200), (0, 0, 40, 20))
    stored = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    picture = upright
    for step in stored:
        picture = picture.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", picture, exif=exif, quality=95, subsampling=0)
    found = read_image(path)
    assert found.shape == (60, 40, 3)
    assert np.abs(found.astype(int) - np.asarray(upright)).mean() < 3


def test_transparency_lies_over_mid_grey(tmp_path: Path) -> None:
    alpha = np.zeros((40, 30), np.uint8)
    alpha[:20] = 255
    path = saved(tmp_path / "a.png", Image.fromarray(np.dstack((RGB, alpha))))
    found = read_image(path)
    assert np.array_equal(found[:20], RGB[:20])
    assert (found[20:] == 128).all()


def test_half_transparency_is_halfway_to_grey(tmp_path: Path) -> None:
    picture = Image.new("LA", (20, 20), (255, 128))
    assert abs(int(read_image(saved(tmp_path / "a.png", picture))[0, 0, 0]) - 192) <= 1


def test_palettes_with_a_transparent_colour(tmp_path: Path) -> None:
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.paste(0, (0, 0, 10, 20))
    found = read_image(saved(tmp_path / "a.png", picture, transparency=0))
    assert (found[:, :10] == 128).all()
    assert (found[:, 10:] == (0, 255, 0)).all()


def test_deep_greys_become_bytes(tmp_path: Path) -> None:
    deep = np.linspace(0, 65_535, 400).reshape(20, 20)
    expected = (deep * 255 / 65_535)[..., None]
    sixteen = Image.fromarray(deep.astype(np.uint16))
    floats = Image.fromarray((deep / 65_535).astype(np.float32))
    for path in (saved(tmp_path / "a.png", sixteen), saved(tmp_path / "a.tiff", floats)):
        found = read_image(path)
        assert found.shape == (20, 20, 3)
        assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGB", (20, 24), (255, 255, 255)).convert(mode)
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    found = read_image(saved(tmp_path / f"a.{suffix}", picture))
    assert found.shape == (24, 20, 3)
    assert found.min() > 250


def test_a_preset_size_turns_with_the_picture() -> None:
    lying = np.zeros((20, 30, 3), np.uint8)
    assert oriented_size((720, 416), lying) == (416, 720)
    assert oriented_size((720, 416), lying.transpose(1, 0, 2)) == (720, 416)
    assert oriented_size((64, 64), lying) == (64, 64)


def nothing(path: Path) -> Path:
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def content(data: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return write


def sized(width: int, height: int) -> Callable[[Path], Path]:
    return lambda path: saved(path, Image.new("RGB", (width, height)))


def cut_off(path: Path) -> Path:
    whole = saved(path, Image.fromarray(RGB)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def bomb(path: Path) -> Path:
    """A PNG whose header states 60,000 x 60,000 pixels."""
    data = bytearray(saved(path, Image.fromarray(RGB)).read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def not_finite(path: Path) -> Path:
    picture = Image.fromarray(np.full((20, 20), np.nan, np.float32))
    picture.save(path, format="tiff")
    return path


BAD = {
    "missing": (nothing, "no such file"),
    "name too long": (lambda path: path.with_name("a" * 300), "not readable"),
    "zero byte in name": (lambda path: path.with_name("a\0b"), "no such file|not readable"),
    "folder": (folder, "not a file"),
    "empty": (content(b""), "the file is empty"),
    "text": (content(b"hello " * 50), "not a picture"),
    "cut off": (cut_off, "damaged or truncated"),
    "three pixels": (sized(3, 1), "at least 16"),
    "small": (sized(15, 400), "at least 16"),
    "long": (sized(16, 400), "at most 1:10"),
    "bomb": (bomb, "at most [0-9]+ pixels"),
    "not finite": (not_finite, "damaged"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_pictures_are_one_clear_error(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    make, reason = BAD[kind]
    path = make(tmp_path / "a.png")
    with pytest.raises(InputError, match=reason) as raised:
        read_image(path)
    assert raised.value.field == "image"
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_bytes_are_read_as_the_file_is(tmp_path: Path, kind: str) -> None:
    data = encoded(Image.fromarray(RGB), kind)
    (tmp_path / "picture").write_bytes(data)
    found = decode_image(data, "portrait", max_pixels=RGB.shape[0] * RGB.shape[1])
    assert np.array_equal(found, read_image(tmp_path / "picture"))


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"", "not PNG, JPEG, WEBP"),
        (b"\\x89PNG no more", "not PNG, JPEG, WEBP"),
        (encoded(Image.fromarray(RGB), "BMP"), "not PNG, JPEG, WEBP"),
        (encoded(Image.fromarray(RGB), "PNG")[:-60], "damaged or truncated"),
        (encoded(Image.new("RGB", (15, 40)), "PNG"), "at least 16"),
        (encoded(Image.new("L", (2_000, 2_000)), "PNG"), "at most 1000000 pixels"),
    ],
)
def test_bytes_from_strangers_are_refused_by_name(data: bytes, limit: str) -> None:
    with pytest.raises(InputError, match=limit) as caught:
        decode_image(data, "portrait", max_pixels=1_000_000)
    assert caught.value.field == "portrait"
