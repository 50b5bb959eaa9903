"""Wrong input on the public API: the status that says what is wrong, and nobody else notices."""

from __future__ import annotations

import time
from collections.abc import Awaitable

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from flashtalk.serving.errors import Reason, field_of, reason_of, status_of
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.v1 import stream_pb2
from services.gateway.store.memory import MemoryStore
from tests.fakes.stand_in_workers import StandIn
from tests.integration.gateway.strangers import (
    Case,
    Request,
    Room,
    after_its_end,
    audio,
    bad,
    bare,
    calling,
    interrupting,
    making,
    opening,
    png,
    prompting,
    resuming,
    second_stream,
    streaming,
    used_request,
)
from tests.integration.gateway.suite import (
    SPEC,
    StandInServer,
    finish,
    gateway,
    memory_store,
    opened,
    portrait,
    run,
    send,
    speech,
    undisturbed,
    watch,
)
from tests.integration.gateway.watcher import Watcher
from tests.patience import until

CHUNK = SPEC.new_samples
VOICE = speech(3 * CHUNK + 3_000)
BUSY = StandIn()
GONE = (grpc.StatusCode.NOT_FOUND, Reason.SESSION_GONE)
REPLAY = (grpc.StatusCode.OUT_OF_RANGE, Reason.REPLAY_GONE)
FINISH, END = Request(finish=stream_pb2.Finish()), Request(end_of_audio=stream_pb2.EndOfAudio())
LONG, MUCH = "x" * 65, speech(3 * CHUNK)
INTERRUPT, LISTED = pb.InterruptSessionRequest, pb.ListSessionsRequest
FIRST = ("missing", "must be the first message of a stream")
SIZE = "bytes"

# fmt: off
CASES = [
    bad("bytes on Stream", bare(b"\xff\xff\xff"), "request", "invalid message", "protobuf"),
    bad("bytes in a stream", streaming(b"\xff\xff"), "request", "invalid message", "protobuf"),
    bad("bytes on CreateSession", calling("CreateSession", b"\xff\xff\xff"), "request",
        "invalid message", "protobuf"),
    bad("a name that is not UTF-8", calling("GetSession", b"\x0a\x01\xff"), "request", "protobuf"),
    bad("audio first", bare(audio([0.0])), "open", *FIRST),
    bad("interruption first", bare(interrupting("a")), "open", *FIRST),
    bad("empty message first", bare(Request()), "open", *FIRST),
    bad("empty message later", streaming(Request()), "message", "none", "end_of_audio"),
    bad("open again", streaming(opening("x")), "open", "sent again", "must be the first message"),
    bad("8 kHz", streaming(sample_rate_hz=8_000), "open.sample_rate_hz", "8000", "16000"),
    bad("no rate", streaming(sample_rate_hz=0), "open.sample_rate_hz", "0", "16000"),
    bad("stereo", streaming(channels=2), "open.channels", "2", "1"),
    bad("encoding 9", streaming(audio_encoding=9), "open.audio_encoding", "9", "AudioEncoding"),
    bad("large packet", streaming(audio(bytes(640_004))), "audio.pcm", "640004", "1 to 640000"),
    bad("empty packet", streaming(audio(b"")), "audio.pcm", "0 bytes", "1 to 640000"),
    bad("half a float", streaming(audio(bytes(6))), "audio.pcm", "6 bytes", "of 4 bytes"),
    bad("half an integer", streaming(audio(bytes(3)), audio_encoding=0), "audio.pcm", "3 bytes",
        "of 2 bytes"),
    bad("NaN", streaming(audio([0, np.nan])), "audio.pcm", "NaN", "finite samples"),
    bad("infinity", streaming(audio([0, -np.inf])), "audio.pcm", "infinite", "finite samples"),
    bad("a gap", streaming(audio(MUCH[:640]), audio([0], 641)), "audio.first_sample",
        "641: must be 640"),
    bad("an overlap", streaming(audio(MUCH[:640]), audio([0], 639)), "audio.first_sample",
        "639: must be 640"),
    bad("not from zero", streaming(audio([0], 2**64 - 1)), "audio.first_sample", "615: must be 0"),
    bad("audio after Finish", streaming(audio(MUCH), FINISH, audio([0], len(MUCH))), "audio",
        "after finish", "no message may follow"),
    bad("end after Finish", streaming(audio(MUCH), FINISH, END), "end_of_audio", "after finish"),
    bad("Finish twice", streaming(audio(MUCH), FINISH, FINISH), "finish", "after finish"),
    bad("long interrupt_id", streaming(interrupting(LONG)), "interrupt_id", "65", "at most 64"),
    bad("long interrupt_id from elsewhere", calling("InterruptSession", INTERRUPT(
        session_id="x", interrupt_id=LONG)), "interrupt_id", "65", "at most 64"),
    bad("long update_id", streaming(prompting(LONG)), "prompt_update.update_id", "65", "1 to 64"),
    bad("no update_id", streaming(prompting("")), "prompt_update.update_id", "0", "1 to 64"),
    bad("no name", calling("GetSession", pb.GetSessionRequest()), "session_id"),
    bad("nobody's stream", bare(opening("nobody")), "session_id", "nobody", status=GONE),
    bad("nobody", calling("GetSession", pb.GetSessionRequest(session_id="nobody")), "session_id",
        "nobody", status=GONE),
    bad("nobody to interrupt", calling("InterruptSession", INTERRUPT(session_id="nobody")),
        "session_id", "nobody", status=GONE),
    bad("a name of 20,000", calling("GetSession", pb.GetSessionRequest(session_id="y" * 20_000)),
        "session_id", "20000 characters", "1 to 64"),
    bad("a stream of 20,000", bare(opening("y" * 20_000)), "open.session_id", "20000 characters",
        "1 to 64"),
    *(bad(f"{end} {method}", after_its_end(end, method), "session_id", "deleted or expired",
          status=GONE)
      for end in ("expired", "deleted") for method in ("Stream", "GetSession", "InterruptSession")),
    bad("a second stream", second_stream, None, "has an open stream",
        status=(grpc.StatusCode.FAILED_PRECONDITION, Reason.SESSION_BUSY)),
    bad("resumed too old", resuming(111), "open.resume_frame", "111: must be 112 .. 224",
        status=REPLAY),
    bad("resumed too new", resuming(225), "open.resume_frame", "225: must be 112 .. 224",
        status=REPLAY),
    bad("used request_id", used_request, "request_id", "used",
        status=(grpc.StatusCode.ALREADY_EXISTS, Reason.REQUEST_CONFLICT)),
    bad("no image", making(portrait=b"portrait"), "portrait", "8 bytes", "not PNG, JPEG, WEBP"),
    bad("a GIF", making(portrait=b"GIF89a" + bytes(60)), "portrait", "66 bytes", "not PNG"),
    bad("cut off", making(portrait=portrait()[:-9_000]), "portrait", SIZE, "damaged or truncated"),
    bad("a bomb", making(portrait=png(50_000, 50_000)), "portrait", SIZE, "40000000 pixels"),
    bad("a small bomb", making(portrait=png(7_000, 7_000)), "portrait", SIZE, "40000000 pixels"),
    bad("3 pixels", making(portrait=png(3, 1)), "portrait", SIZE,
        "3x1 pixels; each side must be at least 16"),
    bad("size", making(size={"width_px": 96, "height_px": 64}), "size", "96x64", "one of 64x64"),
    bad("no size", making(size={}), "size", "0x0", "one of 64x64"),
    bad("codec 9", making(video_codec=9), "video_codec", "9", "VIDEO_CODEC_H264"),
    bad("idle 9", making(idle_policy=9), "idle_policy", "9", "IDLE_POLICY_WAIT"),
    bad("pacing 9", making(pacing=9), "pacing", "9", "PACING_REAL_TIME"),
    bad("page_size", calling("ListSessions", LISTED(page_size=1_001)), "page_size", "1001",
        "1 to 1000"),
    *(bad(f"page_token {token}", calling("ListSessions", LISTED(page_token=token)), "page_token",
          token, "of the previous page") for token in ("rubbish", "nan:x", "inf:x", "1")),
]
# fmt: on


@pytest.fixture(scope="module")
def expected() -> list[bytes]:
    """What a session gives that nobody disturbs."""
    return undisturbed(VOICE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_wrong_input_is_refused_by_name_and_nobody_else_notices(
    case: Case, expected: list[bytes]
) -> None:
    async def scenario() -> None:
        clock = [0.0]
        worker = await StandInServer.start(BUSY)
        store = memory_store(lambda: time.time() + clock[0])
        try:
            async with gateway(worker.target, store) as running:
                room = Room(running, clock)
                call, _ = await opened(running.stub, await room.session(ttl=Duration(seconds=600)))
                await send(call, VOICE[: 2 * CHUNK], 0)
                seen = await watch(call, Watcher(), lambda w: w.next_frame > 0)
                check(case, await refusal(case.act(room)))
                await send(call, VOICE[2 * CHUNK :], 2 * CHUNK)
                await finish(call)
                await watch(call, seen)
                assert seen.video == expected
                await nothing_left(room, store)
        finally:
            await worker.kill()

    run(scenario)


async def refusal(act: Awaitable[None]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await act
    return error.value


def check(case: Case, error: grpc.aio.AioRpcError) -> None:
    assert (error.code(), reason_of(error)) == case.status, error
    assert field_of(error) == case.field
    message = error.details() or ""
    assert all(text in message for text in case.says), message
    status = status_of(error)
    assert status is not None
    assert (status.code, status.message) == (case.status[0].value[0], message)


async def nothing_left(room: Room, store: MemoryStore) -> None:
    """No stream, no owner; and once the sessions are deleted, no place that is taken."""
    await until(lambda: not room.gateway.host.open_streams)
    assert not any(record.owner for record in (await store.page(100, "")).records)
    for name in room.names:
        request = pb.DeleteSessionRequest(session_id=name)
        await room.gateway.stub.DeleteSession(request)
    assert not (await store.page(100, "")).records
    assert await room.gateway.pool.free_slots() == (1_000, 1_000)
