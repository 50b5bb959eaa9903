"""Any picture as bytes that a gateway takes, at a size that it takes."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flashtalk.errors import InputError
from flashtalk.media import decode_image, fit_portrait, portrait_bytes, read_image
from flashtalk.media.portrait import MAX_PORTRAIT_BYTES, MAX_PORTRAIT_PIXELS
from services.gateway.settings import GatewaySettings

PICTURE = Image.linear_gradient("L").resize((120, 160)).convert("RGB")


def saved(folder: Path, picture: Image.Image, kind: str, **options: Any) -> Path:
    path = folder / f"portrait.{kind.lower()}"
    picture.save(path, kind, **options)
    return path


def test_the_limits_are_those_of_a_gateway() -> None:
    limits = GatewaySettings()
    assert limits.max_portrait_bytes == MAX_PORTRAIT_BYTES
    assert limits.max_portrait_pixels == MAX_PORTRAIT_PIXELS


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_a_gateway_takes_is_sent_as_it_is(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, PICTURE, kind)
    assert portrait_bytes(path) == path.read_bytes()


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "AVIF", "PPM", "TGA"])
def test_other_kinds_are_sent_as_the_same_pixels(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, PICTURE, kind)
    sent = decode_image(portrait_bytes(path), "portrait", max_pixels=MAX_PORTRAIT_PIXELS)
    assert np.array_equal(sent, read_image(path))


def test_many_pixels_are_scaled_down(tmp_path: Path) -> None:
    path = saved(tmp_path, PICTURE.resize((6_000, 8_000)), "JPEG", quality=50)
    data = portrait_bytes(path)
    sent = decode_image(data, "portrait", max_pixels=MAX_PORTRAIT_PIXELS)
    assert len(data) <= MAX_PORTRAIT_BYTES
    assert sent.shape[0] / sent.shape[1] == pytest.approx(8 / 6, abs=0.01)
    assert min(sent.shape[:2]) > 1_000  # more than any video has
    small = np.asarray(Image.fromarray(sent).resize(PICTURE.size), int)
    assert np.abs(small - np.asarray(PICTURE)).mean() < 2


def test_many_bytes_become_few(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1_800, 2_000, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "PNG")
    assert path.stat().st_size > MAX_PORTRAIT_BYTES
    data = portrait_bytes(path)
    assert len(data) <= MAX_PORTRAIT_BYTES
    sent = decode_image(data, "portrait", max_pixels=MAX_PORTRAIT_PIXELS)
    assert sent.mean() == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize("max_bytes", [3_000, 20_000, 300_000])
def test_it_fits_any_limit(max_bytes: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    data = fit_portrait(noise, max_bytes=max_bytes, max_pixels=50_000)
    assert len(data) <= max_bytes
    with Image.open(io.BytesIO(data)) as picture:
        assert math.prod(picture.size) <= 50_000


def test_a_turned_picture_of_another_kind_is_sent_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, PICTURE, "TIFF", exif=exif)
    sent = decode_image(portrait_bytes(path), "portrait", max_pixels=MAX_PORTRAIT_PIXELS)
    assert sent.shape == (120, 160, 3)


def test_errors_name_the_file(tmp_path: Path) -> None:
    for name, data in (("no.png", None), ("text.png", b"hello " * 20), ("empty.png", b"")):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            portrait_bytes(tmp_path / name)
