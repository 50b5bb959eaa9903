"""The seam between a leader and its followers: same commands, same caches, same latents."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashtalk.arrays import FloatArray
from flashtalk.engine import Pipeline, open_checkpoint
from flashtalk.errors import InputError
from flashtalk.serving.lane import Cancellation, Stopped
from services.dit_worker.commands import Keep, Run
from services.dit_worker.conditionings import ConditioningMissing
from services.dit_worker.rank import DenoiseRank, Leader
from services.dit_worker.stage import DenoiseStage
from services.pod.commands import Shutdown, Warm
from services.pod.group import follow
from services.vae_decoder.commands import Command as CodecCommand
from services.vae_decoder.commands import Decode
from services.vae_decoder.rank import CodecLeader, CodecRank
from services.vae_decoder.stage import CodecStage, Decoded
from tests.patience import patient

PORTRAIT = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


class Threads:
    """A group of two in one process: commands through a queue, agreement at a barrier."""

    def __init__(self) -> None:
        self.commands: queue.Queue[Any] = queue.Queue()
        self.barrier = threading.Barrier(2, timeout=patient(60))
        self.word = True
        self.warmed = False

    def send(self, command: Any) -> None:
        self.commands.put(command)

    def receive(self) -> Any:
        return self.commands.get(timeout=patient(60))

    def agree(self, wanted: bool) -> bool:
        if threading.current_thread() is threading.main_thread():
            self.word = wanted
        self.barrier.wait()
        agreed = self.word
        self.barrier.wait()
        return agreed

    def together(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def warm(self) -> None:
        self.warmed = True


class Recorded(DenoiseRank):
    """A follower whose latents can be looked at."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.latents: list[FloatArray] = []
        self.stopped = 0

    def run(self, command: Run, cancellation: Cancellation) -> tuple[FloatArray, float]:
        try:
            made = super().run(command, cancellation)
        except Stopped:
            self.stopped += 1
            raise
        self.latents.append(made[0])
        return made


def test_followers_do_what_the_leader_does(weights: Path, pipeline: Pipeline) -> None:
    group = Threads()
    checkpoint = open_checkpoint("tiny", weights, device="cpu")
    leading, following = (kind.load(checkpoint, group, 2**20) for kind in (DenoiseRank, Recorded))
    assert isinstance(following, Recorded)
    stage = DenoiseStage(Leader(leading, group), checkpoint.load_encoders(), checkpoint, "w" * 64)
    thread = threading.Thread(target=follow, args=(group, following.carry_out))
    thread.start()
    try:
        z = pipeline.codec.encode_reference(PORTRAIT).z_BCFHW.numpy()
        kept = stage.embed(PORTRAIT, "hello", z)
        assert isinstance(kept, Keep)
        rows = pipeline.audio.chunk_rows(pipeline.audio.features(np.ones(128_000, np.float32)))
        chunks = [
            Run(kept.digest, 5, index, rows.numpy(), z[:, :, : 2 if index else 1])
            for index in range(3)
        ]
        latents = [stage.run(chunk, Cancellation())[0] for chunk in chunks]
        # Nobody wants this one: both give it up, and both go on.
        cancelled = Cancellation()
        cancelled.cancel()
        with pytest.raises(Stopped):
            stage.run(chunks[0], cancelled)
        # A conditioning that is not kept is not even told to the others.
        with pytest.raises(ConditioningMissing):
            stage.run(Run("0" * 64, 5, 0, rows.numpy(), z[:, :, :1]), Cancellation())
        latents.append(stage.run(chunks[1], Cancellation())[0])
    finally:
        group.send(Warm())
        group.send(Shutdown())
        thread.join(patient(60))
    assert not thread.is_alive()
    assert group.warmed
    assert following.stopped == 1
    assert len(following.latents) == 4
    for ours, theirs in zip(latents, following.latents, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert following.conditionings.bytes == leading.conditionings.bytes > 0


class Counted(CodecRank):
    """A follower that counts the parts of each command that it has carried out."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.done: list[str] = []

    def carry_out(self, command: CodecCommand) -> None:
        name = type(command).__name__
        try:
            super().carry_out(command)
            self.done.append(name)
        except Stopped:
            self.done.append(f"{name} stopped")
            raise


def parts_of(stage: CodecStage, command: Decode) -> tuple[list[int], Decoded]:
    lengths = []
    stream = stage.decode(command.z_BCFHW, command.color, command.frames)
    while True:
        try:
            lengths.append(len(next(stream)))
        except StopIteration as end:
            return lengths, end.value


def test_followers_decode_what_the_leader_does_and_stop_where_it_stops(
    weights: Path, pipeline: Pipeline
) -> None:
    group = Threads()
    checkpoint = open_checkpoint("tiny", weights, device="cpu")
    stage = CodecStage(CodecLeader(CodecRank.load(checkpoint, group), group))
    following = Counted.load(checkpoint, group)
    thread = threading.Thread(target=follow, args=(group, following.carry_out), daemon=True)
    thread.start()
    try:
        reference = stage.encode_reference(PORTRAIT)
        z, color = reference.z_BCFHW.numpy(), reference.color.to_array()
        lengths, whole = parts_of(stage, Decode(z, color, 28))
        assert sum(lengths) == 28
        assert len(lengths) > 1
        # Whoever asked has gone: the leader gives up between two parts, and so does the other.
        left = stage.decode(z, color, 28)
        next(left)
        left.close()
        np.testing.assert_array_equal(stage.motion(z, color, 28).motion_z, whole.motion_z)
        with pytest.raises(InputError, match="frames"):
            next(stage.decode(z, color, 29))
        again, same = parts_of(stage, Decode(z, color, 28))
        assert again == lengths
        np.testing.assert_array_equal(same.motion_z, whole.motion_z)
    finally:
        group.send(Shutdown())
        thread.join(patient(60))
    assert not thread.is_alive()
    assert following.done == ["Encode", "Decode", "Decode stopped", "Decode", "Decode"]
