"""What a request for a session may say, what it becomes, and the portrait at the size served."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from PIL import Image

from flashtalk.errors import InputError
from flashtalk.v1 import media_pb2
from flashtalk.v1 import session_service_pb2 as pb
from services.gateway.sessions.creation import Creation, check_creation
from services.gateway.settings import GatewaySettings

LIMITS = GatewaySettings(max_portrait_bytes=2_000, max_portrait_pixels=10_000).limits()
WAIT, UNLIMITED = pb.IDLE_POLICY_WAIT, pb.PACING_UNLIMITED
STANDING, LYING, SQUARE = (96, 64), (64, 96), (64, 64)


def file_of(high: int, wide: int, kind: str = "PNG") -> bytes:
    """A picture that is red above and blue below."""
    pixels = np.zeros((high, wide, 3), np.uint8)
    pixels[: high // 2, :, 0] = 255
    pixels[high // 2 :, :, 2] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """The head of a PNG of this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = (
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in (header, b"IDAT")
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(checked)


PORTRAIT = file_of(40, 30)


def request(**fields: Any) -> pb.CreateSessionRequest:
    known: dict[str, Any] = {"request_id": "one", "portrait": PORTRAIT}
    return pb.CreateSessionRequest(**{**known, **fields})


def checked(**fields: Any) -> Creation:
    return check_creation(request(**fields), LIMITS)


def seconds(number: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(number * 1e9))
    return duration


def test_what_is_not_said_becomes_the_default() -> None:
    creation = checked()
    assert creation.request_id == "one"
    assert creation.portrait == PORTRAIT
    assert (creation.prompt, creation.seed, creation.size_hw) == ("", 0, None)
    assert creation.video_codec == media_pb2.VIDEO_CODEC_H264
    assert creation.idle_policy == pb.IDLE_POLICY_MODEL
    assert creation.pacing == pb.PACING_REAL_TIME
    assert creation.ttl_s == 60.0


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "a"},
        {"request_id": "A-z_9" + "x" * 59},
        {"portrait": b"x"},
        {"portrait": bytes(2_000)},
        {"prompt": "é" * 2_000},
        {"seed": 2**64 - 1},
        {"ttl": seconds(5)},
        {"ttl": seconds(3_600)},
        {"idle_policy": WAIT, "pacing": UNLIMITED},
        {"idle_policy": pb.IDLE_POLICY_HOLD},
        {"idle_policy": pb.IDLE_POLICY_LOOP},
        {"video_codec": media_pb2.VIDEO_CODEC_RAW_RGB24},
    ],
)
def test_what_is_just_within_its_limits_is_taken_as_it_is(fields: dict[str, Any]) -> None:
    creation = checked(**fields)
    for name, value in fields.items():
        if name == "ttl":
            assert creation.ttl_s == value.seconds
        else:
            assert getattr(creation, name) == value


@pytest.mark.parametrize(
    ("field", "fields", "value", "limit"),
    [
        ("request_id", {"request_id": ""}, "", "1 to 64"),
        ("request_id", {"request_id": "x" * 65}, "x" * 65, "1 to 64"),
        ("request_id", {"request_id": "a b"}, "a b", "A-Z a-z 0-9"),
        ("request_id", {"request_id": "one\n"}, "one\n", "A-Z a-z 0-9"),
        ("request_id", {"request_id": "ä"}, "ä", "A-Z a-z 0-9"),
        ("request_id", {"request_id": "٣"}, "٣", "A-Z a-z 0-9"),
        ("request_id", {"request_id": "y" * 10_000}, "y" * 80, "1 to 64"),
        ("portrait", {"portrait": b""}, "0 bytes", "1 to 2000 bytes"),
        ("portrait", {"portrait": bytes(2_001)}, "2001 bytes", "1 to 2000 bytes"),
        ("prompt", {"prompt": "x" * 2_001}, "2001 characters", "at most 2000"),
        ("idle_policy", {"idle_policy": 5}, "5", "IDLE_POLICY_WAIT"),
        ("idle_policy", {"idle_policy": -1}, "-1", "IDLE_POLICY_MODEL"),
        ("pacing", {"pacing": 3}, "3", "PACING_UNLIMITED"),
        ("video_codec", {"video_codec": 3}, "3", "VIDEO_CODEC_RAW_RGB24"),
        ("pacing", {"pacing": UNLIMITED}, "PACING_UNLIMITED", "requires IDLE_POLICY_WAIT"),
        (
            "pacing",
            {"pacing": UNLIMITED, "idle_policy": pb.IDLE_POLICY_HOLD},
            "PACING_UNLIMITED",
            "requires IDLE_POLICY_WAIT",
        ),
        ("ttl", {"ttl": seconds(4.999)}, "4.999 s", "5 to 3600 s"),
        ("ttl", {"ttl": seconds(3_600.5)}, "3600.5 s", "5 to 3600 s"),
        ("ttl", {"ttl": seconds(0)}, "0 s", "5 to 3600 s"),
        ("ttl", {"ttl": seconds(-60)}, "-60 s", "5 to 3600 s"),
        ("ttl", {"ttl": Duration(seconds=2**63 - 1, nanos=2**31 - 1)}, "s", "5 to 3600 s"),
    ],
)
def test_what_is_beyond_its_limits_is_refused_by_name(
    field: str, fields: dict[str, Any], value: str, limit: str
) -> None:
    with pytest.raises(InputError) as refused:
        checked(**fields)
    error = refused.value
    assert error.field == field
    assert str(error.value) == value or (field == "ttl" and value in str(error.value))
    assert limit in error.limit


def test_the_same_request_has_the_same_digest_and_every_field_changes_it() -> None:
    others: list[dict[str, Any]] = [
        {"request_id": "two"},
        {"portrait": PORTRAIT + b"x"},
        {"prompt": "x"},
        {"seed": 1},
        {"size": media_pb2.VideoSize(width_px=64, height_px=96)},
        {"size": media_pb2.VideoSize(width_px=96, height_px=64)},
        {"video_codec": media_pb2.VIDEO_CODEC_RAW_RGB24},
        {"idle_policy": WAIT},
        {"idle_policy": WAIT, "pacing": UNLIMITED},
        {"ttl": seconds(61)},
        {"ttl": seconds(61.5)},
    ]
    changed = {name for fields in others for name in fields}
    assert changed == set(pb.CreateSessionRequest.DESCRIPTOR.fields_by_name), "none left out"
    digests = [checked(**fields).digest for fields in ({}, *others)]
    assert digests == [checked(**fields).digest for fields in ({}, *others)]
    assert len(set(digests)) == len(others) + 1
    again = pb.CreateSessionRequest.FromString(request(prompt="x").SerializeToString())
    assert check_creation(again, LIMITS).digest == checked(prompt="x").digest


@pytest.mark.parametrize(
    ("picture_hw", "sizes_hw", "expected"),
    [
        ((40, 30), [STANDING], STANDING),
        ((40, 30), [STANDING, LYING], STANDING),
        ((30, 40), [STANDING, LYING], LYING),
        ((30, 40), [LYING, STANDING], LYING),
        ((40, 30), [LYING, STANDING], STANDING),
        # Turned it would suit the portrait, but nobody serves that.
        ((30, 40), [STANDING], STANDING),
        ((40, 30), [LYING, SQUARE], LYING),
        # A square is not the other way round of anything.
        ((40, 30), [SQUARE, STANDING], SQUARE),
        ((40, 40), [STANDING, LYING], STANDING),
    ],
)
def test_without_a_size_the_first_one_is_taken_turned_where_that_suits_and_is_served(
    picture_hw: tuple[int, int], sizes_hw: list[tuple[int, int]], expected: tuple[int, int]
) -> None:
    picture = checked(portrait=file_of(*picture_hw)).picture(sizes_hw, LIMITS)
    assert picture.shape == (*expected, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_size_that_is_served_is_what_comes_whatever_the_portrait(kind: str) -> None:
    for high, wide in (STANDING, LYING, SQUARE):
        size = media_pb2.VideoSize(width_px=wide, height_px=high)
        creation = checked(portrait=file_of(40, 30, kind), size=size)
        assert creation.size_hw == (high, wide)
        picture = creation.picture([SQUARE, LYING, STANDING], LIMITS)
        assert picture.shape == (high, wide, 3)
        # Upright, its middle in the middle.
        assert picture[: high // 2 - 4].argmax(2).max() == 0
        assert picture[high // 2 + 4 :].argmax(2).min() == 2


def test_a_size_that_is_not_served_is_refused_with_those_that_are() -> None:
    for wide, high in ((64, 48), (96, 64), (0, 0), (2**32 - 1, 2**32 - 1)):
        creation = checked(size=media_pb2.VideoSize(width_px=wide, height_px=high))
        with pytest.raises(InputError) as refused:
            creation.picture([STANDING, SQUARE], LIMITS)
        assert refused.value.field == "size"
        assert refused.value.value == f"{wide}x{high}"
        assert refused.value.limit == "one of 64x96, 64x64"


@pytest.mark.parametrize(
    ("portrait", "limit"),
    [
        (b"no picture", "not PNG, JPEG, WEBP"),
        (PORTRAIT[:8], "not PNG, JPEG, WEBP"),
        (file_of(40, 30, "GIF"), "not PNG, JPEG, WEBP"),
        (file_of(20, 20, "BMP"), "not PNG, JPEG, WEBP"),
        (PORTRAIT[:-30], "damaged or truncated"),
        (file_of(40, 30, "JPEG")[:-200], "damaged or truncated"),
        (bomb(101, 100), "at most 10000 pixels"),
        (bomb(12_000, 12_000), "at most 10000 pixels"),
        (bomb(2**31 - 1, 2**31 - 1), "at most 10000 pixels"),
        (file_of(15, 40), "40x15 pixels; each side must be at least 16"),
        (file_of(16, 161), "161x16 pixels; the aspect ratio must be at most 1:10"),
    ],
)
def test_a_portrait_that_is_none_is_refused_before_its_pixels_are_made(
    portrait: bytes, limit: str
) -> None:
    with pytest.raises(InputError) as refused:
        checked(portrait=portrait).picture([SQUARE], LIMITS)
    assert refused.value.field == "portrait"
    assert refused.value.value == f"{len(portrait)} bytes"
    assert limit in refused.value.limit
