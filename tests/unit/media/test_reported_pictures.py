"""Pictures that people reported: what stands beside the pixels never costs the picture."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from flashtalk.arrays import Rgb
from flashtalk.errors import InputError
from flashtalk.media import decode_image, read_image
from flashtalk.media.png_chunks import SIGNATURE
from tests.fakes.icc_profiles import (
    ADOBE_RGB_XYZ,
    DISPLAY_P3_XYZ,
    cmyk_profile,
    grey_profile,
    matrix_profile,
)

CASES = Path(__file__).parents[2] / "cases"


def smooth(width: int = 160, height: int = 120) -> Image.Image:
    """Colours that lossy codecs keep."""
    rows_H1, columns_1W = np.mgrid[0:height, 0:width]
    red, green = 255 * rows_H1 / height, 255 * columns_1W / width
    blue = 128 + 100 * np.sin(rows_H1 / 20) * np.cos(columns_1W / 25)
    return Image.fromarray(np.dstack((red, green, blue)).astype(np.uint8))


PICTURE = smooth()
PIXELS = np.asarray(PICTURE)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, folder: Path) -> tuple[Rgb, list[str]]:
    """From the file and, as a gateway does, from the bytes; no warning comes out of either."""
    path, notes = folder / "portrait", list[str]()
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_image(path, notes.append)
        if data.startswith((SIGNATURE, b"\xff\xd8")):
            assert np.array_equal(decode_image(data, "portrait", max_pixels=10**7), found)
    return found, notes


@pytest.mark.parametrize(
    "name",
    [
        "png-2MiB-ztxt.png",
        "png-bad-crc-in-tIME.png",
        "jpeg-without-eoi.jpg",
        "exif-doubled-header.jpg",
    ],
)
def test_reported_pictures_are_read(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """All four are the same drawing."""
    found, notes = read((CASES / name).read_bytes(), tmp_path)
    assert found.shape == (384, 384, 3)
    assert found.mean(axis=(0, 1)) == pytest.approx([135.8, 111.3, 122.8], abs=0.2)
    assert len(notes) == (1 if "eoi" in name else 0)
    assert capfd.readouterr().err == ""


def test_the_reported_profile_is_applied(tmp_path: Path) -> None:
    data = (CASES / "adobe-rgb.jpg").read_bytes()
    found, notes = read(data, tmp_path)
    with Image.open(io.BytesIO(data)) as picture:
        raw = np.asarray(picture.convert("RGB")).astype(int)
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        srgb = ImageCms.createProfile("sRGB")
        expected = ImageCms.profileToProfile(picture, profile, srgb, outputMode="RGB")
    assert np.array_equal(found, np.asarray(expected))
    assert np.abs(found - raw)[..., 0].mean() == pytest.approx(9, abs=1)
    assert notes == []


def test_heic_is_named_with_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"HEIC is not supported; save it as JPEG or PNG"
    ) as raised:
        read_image(CASES / "heic-header.heic")
    assert "heic-header.heic" in str(raised.value)
    assert "\n" not in str(raised.value)


def box(*brands: bytes) -> bytes:
    body = b"ftyp" + brands[0] + bytes(4) + b"".join(brands)
    return struct.pack(">I", len(body) + 4) + body + bytes(200)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (box(b"heic", b"mif1"), "HEIC"),
        (box(b"mif1", b"heic"), "HEIC"),
        (box(b"heix"), "HEIC"),
        (box(b"msf1", b"hevc"), "HEIC"),
        (box(b"isom", b"mp41"), "this is a video"),
        (box(b"qt  "), "this is a video"),
        (box(b"crx "), "raw camera files"),
        (b"\xff\x0a" + bytes(100), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100), "JPEG XL"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<svg xmlns=", "SVG"),
        (b"<!DOCTYPE html>", "web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path: Path, data: bytes, kind: str) -> None:
    for read_it in (lambda: read(data, tmp_path), lambda: decode_image(data, "p", max_pixels=9)):
        with pytest.raises(InputError, match=kind) as raised:
            read_it()
        assert "\n" not in str(raised.value)


def chunk(name: bytes, body: bytes, checksum: bytes | None = None) -> bytes:
    right = zlib.crc32(name + body).to_bytes(4, "big")
    return struct.pack(">I", len(body)) + name + body + (checksum or right)


PNG = saved(PICTURE, "PNG")
IHDR_END = len(SIGNATURE) + 25
WRONG = b"\1\2\3\4"


def with_chunk(more: bytes, data: bytes = PNG) -> bytes:
    return data[:IHDR_END] + more + data[IHDR_END:]


LARGE = bytes(3 * 2**20)
BESIDE = {
    "text": chunk(b"tEXt", b"k\0" + b"a" * 2**21),
    "packed text": chunk(b"zTXt", b"k\0\0" + zlib.compress(LARGE)),
    "packed international text": chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(LARGE)),
    "international text": chunk(b"iTXt", b"k\0\0\0\0\0" + b"b" * 2**21),
    "large xmp": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"b" * 2**21),
    "much text": b"".join(chunk(b"tEXt", b"k\0" + b"a" * (2**20 - 9)) for _ in range(70)),
    "profile that unpacks to 100 MiB": chunk(
        b"iCCP", b"icc\0\0" + zlib.compress(bytes(100 * 2**20))
    ),
    "profile that does not unpack": chunk(b"iCCP", b"icc\0\0no"),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_is_large_beside_a_png_is_not_read(tmp_path: Path, kind: str) -> None:
    assert np.array_equal(read(with_chunk(BESIDE[kind]), tmp_path)[0], PIXELS)


ANCILLARY = (
    *("tIME", "pHYs", "gAMA", "cHRM", "sRGB", "sBIT", "bKGD", "hIST", "sPLT", "tEXt", "zTXt"),
    *("iTXt", "iCCP", "eXIf", "tRNS", "acTL", "fcTL", "caBX", "zzZz"),
)


@pytest.mark.parametrize("name", ANCILLARY)
def test_what_is_damaged_beside_a_png_costs_nothing(tmp_path: Path, name: str) -> None:
    for body in (b"", b"\xff" * 3, bytes(9), bytes(300)):
        for checksum in (None, WRONG):
            data = with_chunk(chunk(name.encode(), body, checksum))
            assert np.array_equal(read(data, tmp_path)[0], PIXELS)


def test_a_clear_colour_with_a_wrong_checksum_is_clear(tmp_path: Path) -> None:
    picture = Image.new("RGB", (20, 20), (10, 200, 30))
    data = with_chunk(chunk(b"tRNS", struct.pack(">3H", 10, 200, 30), WRONG), saved(picture, "PNG"))
    assert (read(data, tmp_path)[0] == 128).all()


@pytest.mark.parametrize("cut", [1, 4, 8, 12, 13, 16])
def test_a_png_may_end_behind_its_last_pixel(tmp_path: Path, cut: int) -> None:
    assert np.array_equal(read(PNG[:-cut], tmp_path)[0], PIXELS)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_png_without_its_lower_part_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(InputError, match="damaged or truncated"):
        read(PNG[: int(len(PNG) * share)], tmp_path)
    header = PNG[:16] + b"\0" + PNG[17:]
    with pytest.raises(InputError, match=r"not a picture|damaged"):
        read(header[:29] + WRONG + header[33:], tmp_path)


def turned() -> tuple[Image.Image, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return PICTURE.transpose(Image.Transpose.ROTATE_90), exif.tobytes()


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "eXIf", "xmp"])
def test_the_turn_of_a_png_is_found_wherever_it_stands(tmp_path: Path, kind: str) -> None:
    picture, exif = turned()
    raw = exif.removeprefix(b"Exif\0\0")
    listed = b"\nexif\n%8d\n" % (len(raw) + 6) + (b"Exif\0\0" + raw).hex().encode()
    xmp = b'<x xmlns:tiff="t"><tiff:Orientation>6</tiff:Orientation></x>'
    key = b"Raw profile type exif\0"
    more = {
        "tEXt": chunk(b"tEXt", key + listed),
        "zTXt": chunk(b"zTXt", key + b"\0" + zlib.compress(listed)),
        "eXIf": chunk(b"eXIf", raw),
        "xmp": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
    }[kind]
    assert np.array_equal(read(with_chunk(more, saved(picture, "PNG")), tmp_path)[0], PIXELS)


@pytest.mark.parametrize("kind", ["doubled", "cut", "noise", "empty", "loop", "no such turn"])
def test_exif_of_any_kind_costs_nothing(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    picture, exif = turned()
    raw = exif.removeprefix(b"Exif\0\0")
    other = Image.Exif()
    other[0x0112] = 9
    entry = b"\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0"
    exif = {
        "doubled": b"Exif\0\0Exif\0\0" + raw,
        "cut": b"Exif\0\0" + raw[:14],
        "noise": b"Exif\0\0" + bytes(range(200)),
        "empty": b"Exif\0\0",
        "loop": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + entry * 10,
        "no such turn": other.tobytes(),
    }[kind]
    found, notes = read(saved(picture, "JPEG", exif=exif, quality=95), tmp_path)
    assert found.shape == (PIXELS.shape if kind == "doubled" else (160, 120, 3))
    assert notes == []
    assert capfd.readouterr().err == ""


JPEGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "colours halved": {"subsampling": 2},
    "progressive": {"progressive": True},
    "restarts by row": {"restart_marker_rows": 1},
    "many restarts": {"restart_marker_blocks": 4},
    "progressive, restarts": {"progressive": True, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_may_lack_its_end(tmp_path: Path, kind: str, mode: str) -> None:
    detailed = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    picture = detailed.resize((640, 480), Image.Resampling.BICUBIC).convert(mode)
    data = saved(picture, "JPEG", quality=90, **JPEGS[kind])
    whole, _ = read(data, tmp_path)
    for cut in (1, 2, 3, 4, 8):
        found, notes = read(data[:-cut], tmp_path)
        # What the last bytes hold is a block or two in a corner.
        assert np.abs(found.astype(int) - whole).mean() < 0.05
        assert len(notes) == 1
    for share in (0.1, 0.3, 0.5) if "progressive" in kind else (0.1, 0.5, 0.8, 0.9):
        with pytest.raises(InputError, match="damaged or truncated"):
            read(data[: int(len(data) * share)], tmp_path)


def test_a_jpeg_with_anything_behind_its_end_is_whole(tmp_path: Path) -> None:
    data = saved(PICTURE, "JPEG", quality=95)
    whole, _ = read(data, tmp_path)
    for more in (bytes(1_000), b"\xff", data, b"garbage"):
        found, notes = read(data + more, tmp_path)
        assert np.array_equal(found, whole)
        assert notes == []


PROFILES = {
    "display p3": matrix_profile(DISPLAY_P3_XYZ, 2.2),
    "adobe rgb": matrix_profile(ADOBE_RGB_XYZ, 2.2),
    "large": matrix_profile(ADOBE_RGB_XYZ, 2.2) + bytes(3 * 2**20),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})],
)
def test_colours_become_srgb(tmp_path: Path, name: str, kind: str, options: dict[str, Any]) -> None:
    profile = PROFILES[name]
    data = saved(PICTURE, kind, icc_profile=profile, **options)
    with Image.open(io.BytesIO(saved(PICTURE, kind, **options))) as stored:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        expected = ImageCms.profileToProfile(stored.convert("RGB"), own, srgb)
    found, notes = read(data, tmp_path)
    assert np.array_equal(found, np.asarray(expected))
    assert np.abs(found.astype(int) - PIXELS).mean() > 2
    assert notes == []


def test_srgb_stays_as_it_is(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found, notes = read(saved(PICTURE, "PNG", icc_profile=profile), tmp_path)
    assert np.array_equal(found, PIXELS)
    assert notes == []


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_greys_become_srgb(tmp_path: Path, gamma: float) -> None:
    grey = PICTURE.convert("L")
    data = saved(grey, "PNG", icc_profile=grey_profile(gamma))
    light = (np.asarray(grey) / 255) ** gamma
    curved = np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(read(data, tmp_path)[0] - 255 * curved[..., None]).max() < 3


def test_inks_become_srgb(tmp_path: Path) -> None:
    """By this profile half of one ink is light grey, of whatever colour it is."""
    yellow = Image.new("CMYK", (32, 32), (0, 0, 128, 0))
    for kind in ("TIFF", "JPEG"):
        plain, _ = read(saved(yellow, kind), tmp_path)
        found, notes = read(saved(yellow, kind, icc_profile=cmyk_profile()), tmp_path)
        assert np.ptp(plain[0, 0]) > 100
        assert np.ptp(found[0, 0].astype(int)) <= 2
        assert 200 < found.min() < 250
        assert notes == []


def test_a_clear_picture_has_its_colours_and_its_grey(tmp_path: Path) -> None:
    picture = PICTURE.copy()
    alpha = Image.new("L", picture.size, 0)
    alpha.paste(255, (0, 0, 80, 120))
    picture.putalpha(alpha)
    profile = PROFILES["adobe rgb"]
    found, _ = read(saved(picture, "PNG", icc_profile=profile), tmp_path)
    opaque, _ = read(saved(PICTURE, "PNG", icc_profile=profile), tmp_path)
    assert np.array_equal(found[:, :80], opaque[:, :80])
    assert (found[:, 80:] == 128).all()


@pytest.mark.parametrize("profile", [b"none" * 99, grey_profile(2.2), cmyk_profile()])
def test_a_profile_that_cannot_be_is_left_out_with_a_note(tmp_path: Path, profile: bytes) -> None:
    found, notes = read(saved(PICTURE, "PNG", icc_profile=profile), tmp_path)
    assert np.array_equal(found, PIXELS)
    assert len(notes) == 1
    assert "ignoring the colour profile" in notes[0]
