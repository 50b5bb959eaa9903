"""Spliced messages are read as if protobuf had written all of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import worker_pb2
from flashtalk.wire import tensor_to_proto
from flashtalk.wire.splice import as_sent, spliced, tensor_pieces

some_key = st.builds(
    worker_pb2.ChunkKey,
    session_id=st.text(max_size=20),
    chunk_index=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 2**32 - 1),
)
some_array = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=5, max_side=9))


@given(key=some_key, sound=hnp.arrays(np.float32, st.integers(1, 40_000)), at=st.floats(0, 1))
def test_an_array_in_pieces_is_one_tensor(
    key: worker_pb2.ChunkKey, sound: np.ndarray, at: float
) -> None:
    middle = round(at * len(sound))
    pieces = tensor_pieces([sound[:middle], sound[middle:]], [len(sound)])
    data = spliced(audio_pb2.EncodeRequest(key=key), (2, pieces))
    whole = audio_pb2.EncodeRequest(key=key, pcm=tensor_to_proto(sound))
    assert audio_pb2.EncodeRequest.FromString(data) == whole
    assert as_sent(data) is data
    assert audio_pb2.EncodeRequest.FromString(as_sent(whole)) == whole


@given(seed=st.integers(0, 2**64 - 1), features=some_array, motion=some_array)
def test_several_fields(seed: int, features: np.ndarray, motion: np.ndarray) -> None:
    asked = dit_pb2.DenoiseRequest
    message = tensor_to_proto(features)
    data = spliced(
        asked(seed=seed),
        (asked.FEATURES_FIELD_NUMBER, [message.SerializeToString()]),
        (asked.MOTION_LATENTS_FIELD_NUMBER, tensor_pieces([motion.T.copy().T], motion.shape)),
    )
    whole = asked(seed=seed, features=message, motion_latents=tensor_to_proto(motion))
    assert asked.FromString(data) == whole
