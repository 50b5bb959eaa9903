"""What callers pass to the client: all that a person would, and clear words about the rest."""

from __future__ import annotations

import array
import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashtalk.client.arguments import portrait_bytes, samples, session_name
from flashtalk.errors import InputError
from flashtalk.v1 import session_service_pb2 as pb

FLOATS = [0.0, 0.5, -0.25, 1.0]
INTEGERS = [0, 16_384, -8_192, 32_767]
AS_INTEGERS = np.array(INTEGERS, np.int16)
S16LE = AS_INTEGERS.astype("<i2").tobytes()


@pytest.mark.parametrize(
    "sound",
    [
        FLOATS,
        tuple(FLOATS),
        [np.float32(value) for value in FLOATS],
        np.array(FLOATS, np.float16),
        np.array(FLOATS, np.float32),
        np.array(FLOATS, np.float64),
        np.array(FLOATS, ">f4"),
        array.array("f", FLOATS),
        array.array("d", FLOATS),
        memoryview(array.array("f", FLOATS)),
        np.repeat(np.array(FLOATS, np.float32), 2)[::2],
    ],
)
def test_floats_of_every_kind_are_the_same_sound(sound: Any) -> None:
    pcm_S = samples(sound)
    assert pcm_S.dtype == np.float32
    assert pcm_S.tolist() == FLOATS


@pytest.mark.parametrize(
    "sound",
    [
        INTEGERS,
        tuple(INTEGERS),
        AS_INTEGERS,
        AS_INTEGERS.astype(">i2"),
        array.array("h", INTEGERS),
        S16LE,
        bytearray(S16LE),
        memoryview(S16LE),
        memoryview(AS_INTEGERS),  # type: ignore[arg-type]
    ],
)
def test_16_bits_of_every_kind_are_the_same_sound(sound: Any) -> None:
    pcm_S = samples(sound)
    assert pcm_S.dtype == np.float32
    assert pcm_S.tolist() == [value / 32_768 for value in INTEGERS]


@pytest.mark.parametrize("sound", [[], (), b"", bytearray(), np.zeros(0, np.float32)])
def test_no_sound_is_no_error(sound: Any) -> None:
    assert samples(sound).shape == (0,)


def test_a_tensor_is_taken_too() -> None:
    torch = pytest.importorskip("torch")
    assert samples(torch.tensor(FLOATS)).tolist() == FLOATS


@pytest.mark.parametrize(
    ("sound", "named"),
    [
        (None, "NoneType"),
        ("speech.wav", "str"),
        (Path("speech.wav"), "Path"),
        (0.5, "float"),
        ({"pcm": FLOATS}, "dict"),
        (["a", "b"], "list"),
        ([None], "list"),
        ([[0.0], [0.0, 1.0]], "list"),
        ([0.1, 1j], "complex"),
        (iter(FLOATS), "iterator"),
        (np.zeros(4, np.int32), "int32"),
        (np.zeros(4, np.int64), "int64"),
        (np.zeros(4, np.uint8), "uint8"),
        (np.zeros(4, bool), "bool"),
        (np.array([2**70]), "object"),
        (memoryview(array.array("I", [1])), "uint32"),
    ],
)
def test_another_type_is_named_and_so_are_those_that_are_taken(sound: Any, named: str) -> None:
    with pytest.raises(TypeError) as raised:
        samples(sound)
    text = str(raised.value)
    assert text.startswith("audio: ")
    assert named in text
    for taken in ("numpy array", "list", "bytes", "16-bit", "[-1, 1]"):
        assert taken in text


@pytest.mark.parametrize(
    ("sound", "limit"),
    [
        (b"abc", "whole samples of 2 bytes"),
        ([0, 40_000], "outside 16 bits"),
        ([0.0, float("nan")], "finite"),
        ([1e300], "finite"),
        (np.full(3, np.inf), "finite"),
        (np.zeros((1, 4), np.float32), "one channel"),
        (np.zeros((4, 2), np.int16), "one channel"),
        (np.float32(0.5).reshape(()), "one channel"),
    ],
)
def test_a_value_that_cannot_be_is_an_input_error(sound: Any, limit: str) -> None:
    with pytest.raises(InputError, match="audio") as raised:
        samples(sound)
    assert limit in str(raised.value)


def test_portraits_are_paths_or_bytes(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(b"picture")
    for given in (path, str(path), b"picture", bytearray(b"picture"), memoryview(b"picture")):
        assert asyncio.run(portrait_bytes(given)) == b"picture"


@pytest.mark.parametrize("portrait", [None, 5, [b"picture"], np.zeros((4, 4, 3), np.uint8)])
def test_another_portrait_is_a_type_error_that_names_the_types(portrait: Any) -> None:
    with pytest.raises(TypeError, match=r"portrait: .*str or Path.*bytes, bytearray") as raised:
        asyncio.run(portrait_bytes(portrait))
    assert type(portrait).__name__ in str(raised.value)


@pytest.mark.parametrize("name", ["none.png", "", "a\0b", "x" * 5_000])
def test_a_portrait_that_is_not_there_is_an_input_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="image"):
        asyncio.run(portrait_bytes(str(tmp_path / name)))


def test_sessions_are_named_by_themselves_or_their_id() -> None:
    assert session_name("one") == session_name(pb.Session(session_id="one")) == "one"
    with pytest.raises(TypeError, match="session_id: int: must be a str or a Session"):
        session_name(1)  # type: ignore[arg-type]
