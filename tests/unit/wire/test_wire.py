"""What goes out comes back; what lies about itself is refused by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flashtalk.errors import InputError
from flashtalk.v1 import media_pb2 as media
from flashtalk.v1 import tensor_pb2 as pb
from flashtalk.wire import (
    image_from_proto,
    image_to_proto,
    pcm_from_bytes,
    pcm_to_bytes,
    tensor_from_proto,
    tensor_to_proto,
)

F32, S16 = media.AUDIO_ENCODING_PCM_F32LE, media.AUDIO_ENCODING_PCM_S16LE


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float16, np.uint8]),
        hnp.array_shapes(min_dims=1, max_dims=6, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False, "min_value": 0, "max_value": 200},
    )
)
def test_an_array_comes_back_bit_for_bit(array: np.ndarray) -> None:
    wire = pb.Tensor.FromString(tensor_to_proto(array).SerializeToString())
    back = tensor_from_proto(wire, field="x", shape=array.shape, dtype=array.dtype)
    assert back.tobytes() == array.tobytes()
    assert back.dtype == array.dtype
    back[...] = 0  # its own memory


def test_bfloat16_comes_as_float32() -> None:
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    message = pb.Tensor(data_type=pb.DATA_TYPE_BFLOAT16, shape=[3], data=data)
    np.testing.assert_array_equal(tensor_from_proto(message, field="x", shape=(3,)), values)


FLOAT32, UINT8 = pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_UINT8


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (
            pb.Tensor(data_type=FLOAT32, shape=[2, 3], data=bytes(24)),
            r"shape \[3, any\]",
        ),
        (pb.Tensor(data_type=FLOAT32, shape=[3], data=bytes(12)), r"shape \[3, any\]"),
        (pb.Tensor(data_type=FLOAT32, shape=[3, 2], data=bytes(23)), "24 bytes"),
        (
            pb.Tensor(data_type=FLOAT32, shape=[3, 2**31], data=bytes(4)),
            "bytes for its shape",
        ),
        (pb.Tensor(data_type=FLOAT32, shape=[3, 0]), "no empty axis"),
        (pb.Tensor(data_type=UINT8, shape=[3, 2], data=bytes(6)), "float32"),
        (pb.Tensor(shape=[3, 2], data=bytes(24)), "float32"),
        (pb.Tensor(data_type=77, shape=[3, 2], data=bytes(24)), "float32"),  # type: ignore[arg-type]
        (tensor_to_proto(np.full((3, 1), np.nan, np.float32)), "finite"),
        (tensor_to_proto(np.full((3, 1), np.inf, np.float32)), "finite"),
    ],
)
def test_a_tensor_that_lies_is_refused(message: pb.Tensor, limit: str) -> None:
    with pytest.raises(InputError, match=limit) as caught:
        tensor_from_proto(message, field="motion_latents", shape=(3, None))
    assert caught.value.field == "motion_latents"


@pytest.mark.parametrize(
    "array", [np.zeros((), np.float32), np.zeros((0, 2), np.float32), np.zeros((1,) * 7), [1.0]]
)
def test_an_array_that_no_message_holds_is_refused(array: object) -> None:
    with pytest.raises(InputError):
        tensor_to_proto(np.asarray(array))


@given(hnp.arrays(np.int16, st.integers(1, 50)))
def test_sixteen_bits_come_back_exactly(samples: np.ndarray) -> None:
    pcm_S = pcm_from_bytes(samples.astype("<i2").tobytes(), S16, "pcm")
    assert pcm_to_bytes(pcm_S, S16) == samples.astype("<i2").tobytes()
    again = pcm_from_bytes(pcm_to_bytes(pcm_S, F32), F32, "pcm")
    np.testing.assert_array_equal(again, pcm_S)


def test_loud_sound_is_limited_not_wrapped() -> None:
    loud = np.array([1.5, -1.5, 1.0], np.float32)
    assert np.frombuffer(pcm_to_bytes(loud, S16), "<i2").tolist() == [32767, -32768, 32767]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"", S16),
        (b"abc", S16),
        (b"abcdef", F32),
        (b"ab", 9),
        (np.array([np.nan], "<f4").tobytes(), F32),
    ],
)
def test_bad_samples_are_refused(data: bytes, encoding: int) -> None:
    with pytest.raises(InputError, match=r"audio\.pcm"):
        pcm_from_bytes(data, encoding, "audio.pcm")


def test_a_picture_comes_back() -> None:
    rgb_HWC = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(image_from_proto(image_to_proto(rgb_HWC), "portrait"), rgb_HWC)


@pytest.mark.parametrize(
    ("width", "height", "size"), [(0, 4, 0), (4, 0, 0), (9_000, 1, 27_000), (4, 4, 47), (4, 4, 49)]
)
def test_a_picture_that_lies_is_refused(width: int, height: int, size: int) -> None:
    message = media.RgbImage(rgb=bytes(size))
    message.size.width_px, message.size.height_px = width, height
    with pytest.raises(InputError, match="portrait"):
        image_from_proto(message, "portrait")
