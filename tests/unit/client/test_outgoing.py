"""The client's memory of what it sent: after any reconnect the server ends with the same speech."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.client.outgoing import (
    Audio,
    Cut,
    End,
    Finish,
    Item,
    Outgoing,
    Prompt,
    as_request,
)
from flashtalk.streaming import Pcm
from flashtalk.v1 import media_pb2


def ramp(first: int, samples: int) -> Pcm:
    return np.arange(first, first + samples, dtype=np.float32)


class Server:
    """What a gateway makes of the items, kept to the last used sample and end."""

    def __init__(self) -> None:
        self.heard: list[float] = []
        self.ends: list[int] = []
        self.used = 0
        self.utterances = 0
        self.received = 0
        self.received_ends = 0
        self.finished = False
        self.prompts: list[str] = []

    def connect(self) -> tuple[int, int]:
        """A new connection: what was not used for good is forgotten."""
        del self.heard[self.used :]
        del self.ends[self.utterances :]
        self.received, self.received_ends = self.used, self.utterances
        self.prompts.clear()
        return self.used, self.utterances

    def take(self, item: Item) -> None:
        if isinstance(item, Audio):
            assert item.first_sample == self.received, "packets follow each other"
            self.heard += item.pcm_S.tolist()
            self.received += len(item.pcm_S)
        elif isinstance(item, End):
            self.received_ends += 1
            assert item.number == self.received_ends
            self.ends.append(self.received)
        elif isinstance(item, Prompt):
            self.prompts.append(item.update_id)
        elif isinstance(item, Finish):
            self.finished = True

    def use(self, share: float) -> tuple[int, int]:
        """Some of what arrived is used for good, ends that lie within it included."""
        self.used += int(share * (self.received - self.used))
        self.utterances = max(self.utterances, sum(position <= self.used for position in self.ends))
        return self.used, self.utterances


class Talk:
    """A client's buffer and a server, step by step."""

    def __init__(self) -> None:
        self.out, self.server = Outgoing(200), Server()
        self.said, self.ends = 0, list[int]()
        self.asked, self.answered = 0, set[str]()

    def push(self, amount: float) -> None:
        self.out.push(ramp(self.said, int(amount)))
        self.said += int(amount)

    def end(self, _: float) -> None:
        self.out.end()
        self.ends.append(self.said)

    def prompt(self, _: float) -> None:
        self.out.prompt(f"{self.asked}", "a scene")
        self.asked += 1

    def answer(self, _: float) -> None:
        if self.server.prompts:
            name = self.server.prompts.pop(0)
            self.answered.add(name)
            self.out.prompted(name)

    def send(self, amount: float) -> None:
        for _ in range(int(amount)):
            if (item := self.out.next()) is not None:
                self.server.take(item)

    def use(self, share: float) -> None:
        self.out.used(*self.server.use(share))

    def lose(self, _: float) -> None:
        self.out.again(*self.server.connect())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(1, 900)),
            st.tuples(st.sampled_from(["end", "prompt", "answer", "lose"]), st.just(0)),
            st.tuples(st.just("send"), st.integers(1, 5)),
            st.tuples(st.just("use"), st.floats(0, 1)),
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_and_nothing_comes_twice(steps: list[tuple[str, float]]) -> None:
    talk = Talk()
    for step, amount in steps:
        getattr(talk, step)(amount)
    talk.out.finish()
    talk.lose(0)
    talk.send(1_000)
    server = talk.server
    assert server.heard == list(range(talk.said))
    assert server.ends == talk.ends
    assert server.finished
    left = [f"{n}" for n in range(talk.asked) if f"{n}" not in talk.answered]
    assert server.prompts == left, "what has no answer is asked again"


def test_an_interruption_takes_what_stood_before_it_and_leaves_what_follows() -> None:
    out = Outgoing(100)
    out.push(ramp(0, 250))
    out.end()
    out.cut("a", 7)
    out.push(ramp(250, 50))
    for _ in range(2):
        out.next()
    out.interrupted("a")
    assert out.waiting_samples == 50
    item = out.next()
    assert isinstance(item, Audio)
    assert item.first_sample == 250
    assert out.next() is None


def test_an_interruption_without_an_answer_is_asked_again() -> None:
    out = Outgoing(100)
    out.push(ramp(0, 100))
    out.cut("a", None)
    while out.next() is not None:
        pass
    out.again(40, 0)
    first, second = out.next(), out.next()
    assert isinstance(first, Audio)
    assert (first.first_sample, len(first.pcm_S)) == (40, 60)
    assert second == Cut("a", None)
    out.interrupted("somebody else's")
    assert out.cuts == 1


def test_items_become_messages() -> None:
    encoding = media_pb2.AUDIO_ENCODING_PCM_F32LE
    audio = as_request(Audio(5, ramp(0, 3)), encoding).audio
    assert (audio.first_sample, len(audio.pcm)) == (5, 12)
    assert as_request(End(1), encoding).HasField("end_of_audio")
    assert as_request(Cut("x", 0), encoding).interrupt.HasField("played_frames")
    assert not as_request(Cut("x", None), encoding).interrupt.HasField("played_frames")
    assert as_request(Finish(), encoding).HasField("finish")


def test_an_interruption_drops_no_new_prompt() -> None:
    out = Outgoing(100)
    out.push(ramp(0, 150))
    out.prompt("p", "a scene")
    out.prompt("q", "another")
    out.cut("a", 7)
    while out.next() is not None:
        pass
    out.push(ramp(150, 50))
    out.interrupted("a")
    item = out.next()
    assert isinstance(item, Audio), "what was sent stays sent"
    assert item.first_sample == 150
    out.again(150, 0)
    assert [out.next() for _ in range(2)] == [Prompt("p", "a scene"), Prompt("q", "another")]
    out.prompted("p")
    out.prompted("p")
    assert isinstance(out.next(), Audio)
    assert out.next() is None
