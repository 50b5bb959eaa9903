"""The seam between a leader and its followers: same commands, same caches, same latents."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path

import numpy as np
import pytest

from flashtalk.engine import Pipeline, open_checkpoint
from flashtalk.serving.lane import Stopped, Wanted
from services.dit_worker.commands import Command, Floats, Keep, Run, Shutdown, Warm
from services.dit_worker.conditionings import ConditioningMissing
from services.dit_worker.rank import DenoiseRank, Leader, follow
from services.dit_worker.stage import DenoiseStage
from tests.patience import patient

PORTRAIT = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


class Threads:
    """A group of two in one process: commands through a queue, agreement at a barrier."""

    def __init__(self) -> None:
        self.commands: queue.Queue[Command] = queue.Queue()
        self.barrier = threading.Barrier(2, timeout=patient(60))
        self.word = True
        self.warmed = False

    def send(self, command: Command) -> None:
        self.commands.put(command)

    def receive(self) -> Command:
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

    def __init__(self, group: Threads) -> None:
        super().__init__(group, 2**20)
        self.latents: list[Floats] = []
        self.stopped = 0

    def run(self, command: Run, wanted: Wanted) -> tuple[Floats, float]:
        try:
            made = super().run(command, wanted)
        except Stopped:
            self.stopped += 1
            raise
        self.latents.append(made[0])
        return made


def test_followers_do_what_the_leader_does(weights: Path, pipeline: Pipeline) -> None:
    group = Threads()
    checkpoint = open_checkpoint("tiny", weights, device="cpu")
    leading, following = DenoiseRank(group, 2**20), Recorded(group)
    stage = DenoiseStage(Leader(leading, group))
    stage.load(checkpoint, "w" * 64)
    following.load(checkpoint)
    thread = threading.Thread(target=follow, args=(following, group))
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
        latents = [stage.run(chunk, Wanted())[0] for chunk in chunks]
        # Nobody wants this one: both give it up, and both go on.
        unwanted = Wanted()
        unwanted.give_up()
        with pytest.raises(Stopped):
            stage.run(chunks[0], unwanted)
        # A conditioning that is not kept is not even told to the others.
        with pytest.raises(ConditioningMissing):
            stage.run(Run("0" * 64, 5, 0, rows.numpy(), z[:, :, :1]), Wanted())
        latents.append(stage.run(chunks[1], Wanted())[0])
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
