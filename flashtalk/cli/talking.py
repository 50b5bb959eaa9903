"""Runs ``flashtalk talk``: speech to a running suite, its video to a file or a pipe.

Imports no torch: it needs only the client, a picture and a sound file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import grpc

from flashtalk.bounds import check_above, check_seed
from flashtalk.cli.gateway_options import open_client
from flashtalk.cli.limits import check_prompt
from flashtalk.cli.piped_speech import PipedSpeech
from flashtalk.cli.progress import progress_bar, summary
from flashtalk.cli.talk_ends import (
    PIPE,
    check_ends,
    open_speech,
    open_writer,
    read_speech,
    sendable,
)
from flashtalk.client import ClientError, SessionStream
from flashtalk.errors import FlashTalkError
from flashtalk.streaming import parse_size_hw
from flashtalk.terminal import INTERRUPTED, note, say, stopping_signals
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from flashtalk.wire import pcm_from_bytes

_LONGEST_PATIENCE_S, _FAREWELL_S = 3_600, 5.0
_F32 = media_pb2.AUDIO_ENCODING_PCM_F32LE


@dataclass
class Received:
    """The progress of a talk.

    Args:
        samples: number to send, if known.
    """

    samples: int | None
    began_s: float = field(default_factory=time.perf_counter)
    frames: int = 0
    first_frame_s: float = 0.0
    retries: int = 0

    @property
    def elapsed_s(self) -> float:
        """Returns the seconds since the session was requested."""
        return time.perf_counter() - self.began_s

    def summary(self, session: pb.Session, reconnects: int) -> str:
        """One line for people and scripts."""
        line = summary(self.frames, session.spec.fps, self.elapsed_s, self.first_frame_s)
        return f"{line} retries={self.retries} reconnects={reconnects}"


def talk(args: argparse.Namespace) -> int:
    """Checks the inputs, then talks; returns the exit code."""
    check_seed(args.seed)
    check_prompt(args.prompt)
    check_above("patience", args.patience, _LONGEST_PATIENCE_S, "seconds")
    size_hw = parse_size_hw(args.size) if args.size is not None else None
    portrait = sendable(args.image)
    received = Received(check_ends(args.image, args.audio, args.out))
    return asyncio.run(_interruptible(args, portrait, size_hw, received))


async def _interruptible(
    args: argparse.Namespace, portrait: bytes, size_hw: tuple[int, int] | None, received: Received
) -> int:
    talking = asyncio.create_task(_talk(args, portrait, size_hw, received))
    loop = asyncio.get_running_loop()
    for number in stopping_signals():
        loop.add_signal_handler(number, talking.cancel)
    try:
        await talking
    except asyncio.CancelledError:
        kept = (
            f"{args.out} contains the frames so far" if received.frames else "nothing was written"
        )
        _say(args, f"stopped: {kept}; frames={received.frames}")
        return INTERRUPTED
    return 0


async def _talk(
    args: argparse.Namespace, portrait: bytes, size_hw: tuple[int, int] | None, received: Received
) -> None:
    async with open_client(args) as client:
        piped = await open_speech(args.audio)
        received.began_s = time.perf_counter()
        session = await client.create_session(
            portrait,
            prompt=args.prompt,
            seed=args.seed,
            size=size_hw and (size_hw[1], size_hw[0]),
            idle_policy=pb.IDLE_POLICY_WAIT,
            pacing=pb.PACING_REAL_TIME if args.real_time else pb.PACING_UNLIMITED,
            wait_for_slot=True,
        )
        try:
            async with client.stream(session) as stream:
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(_speak(args, piped, stream))
                        group.create_task(_write(args.out, session, stream, received))
                except* FlashTalkError as errors:
                    # If one of the two fails the other is cancelled: the first error is the cause.
                    raise errors.exceptions[0] from None
                _say(args, f"{args.out}: {received.summary(session, stream.reconnects)}")
        finally:
            # Finished sessions are gone already; an abandoned one frees its slot now.
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await client.delete_session(session.session_id)


def _say(args: argparse.Namespace, line: str) -> None:
    """Prints to standard error if standard output is the video."""
    if args.out == PIPE:
        note(line)
    else:
        say(line)


async def _speak(
    args: argparse.Namespace, piped: PipedSpeech | None, stream: SessionStream
) -> None:
    """Sends the file; in real time, if requested."""
    hz = stream.session.spec.sample_rate_hz
    begun_s, sent = time.monotonic(), 0
    async for packet_S in read_speech(args.audio, piped, hz):
        size = hz // 50 if args.real_time else len(packet_S)
        for begin in range(0, len(packet_S), max(size, 1)):
            part_S = packet_S[begin : begin + size]
            await stream.push_audio(part_S)
            sent += len(part_S)
            if args.real_time:
                await asyncio.sleep(max(0.0, begun_s + sent / hz - time.monotonic()))
    await stream.finish()


async def _write(out: str, session: pb.Session, stream: SessionStream, received: Received) -> None:
    spec = session.spec
    size_hw = (spec.size.height_px, spec.size.width_px)
    with ExitStack() as stack:
        writer = open_writer(out, fps=spec.fps, size_hw=size_hw, pcm_hz=spec.sample_rate_hz)
        # The file is playable in every case; without a frame there is none.
        stack.callback(writer.close)
        total = received.samples and -(-received.samples // spec.samples_per_frame)
        progress, task = stack.enter_context(progress_bar(total, stderr=True))
        async for event in stream:
            if isinstance(event, stream_pb2.Frame):
                if not received.frames:
                    received.first_frame_s = received.elapsed_s
                received.frames += 1
                pcm_S = pcm_from_bytes(event.pcm, _F32, "pcm")
                writer.write_encoded(event.video, pcm_S, key_frame=event.key_frame)
                await writer.flush()
                fps = received.frames / received.elapsed_s
                progress.update(task, completed=received.frames, fps=f"{fps:.1f}")
            elif isinstance(event, stream_pb2.ChunkReport):
                received.retries += event.retries
        writer.close()
        await writer.flush()
    if total is not None and received.frames != total:
        limit = f"expected {total} frames"
        raise ClientError(grpc.StatusCode.DATA_LOSS, f"received {received.frames} frames, {limit}")
