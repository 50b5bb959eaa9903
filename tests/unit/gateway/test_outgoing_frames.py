"""Frames as they leave are the messages of the proto, one by one and in groups."""

from hypothesis import given
from hypothesis import strategies as st

from flashtalk.v1 import stream_pb2 as pb
from services.gateway.stream.outgoing import OutgoingFrame, as_response

number = st.integers(0, 2**63 - 1)
some_frame = st.builds(
    OutgoingFrame,
    frame_index=number,
    first_sample=number,
    pcm=st.binary(max_size=300),
    video=st.binary(max_size=300),
    key_frame=st.booleans(),
    chunk_index=number,
    epoch=st.integers(0, 2**32 - 1),
)


@given(frame=some_frame)
def test_a_frame_by_itself(frame: OutgoingFrame) -> None:
    response = pb.StreamResponse.FromString(as_response([frame]).SerializeToString())
    assert response == pb.StreamResponse(frame=pb.Frame(**frame._asdict()))
    assert response.frame.ByteSize() <= frame.size_bytes


@given(frames=st.lists(some_frame, min_size=2, max_size=9))
def test_frames_that_leave_together(frames: list[OutgoingFrame]) -> None:
    response = pb.StreamResponse.FromString(as_response(frames).SerializeToString())
    group = [pb.Frame(**frame._asdict()) for frame in frames]
    assert response == pb.StreamResponse(frames=pb.FrameGroup(frames=group))
