"""The client's memory of what it sent: after any reconnect the server ends with the same speech."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.client.outgoing import Audio, Cut, End, Finish, Item, Outgoing, as_request
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

    def connect(self) -> tuple[int, int]:
        """A new connection: what was not used for good is forgotten."""
        del self.heard[self.used :]
        del self.ends[self.utterances :]
        self.received, self.received_ends = self.used, self.utterances
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
        elif isinstance(item, Finish):
            self.finished = True

    def use(self, share: float) -> tuple[int, int]:
        """Some of what arrived is used for good, ends that lie within it included."""
        self.used += int(share * (self.received - self.used))
        self.utterances = max(self.utterances, sum(position <= self.used for position in self.ends))
        return self.used, self.utterances


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(1, 900)),
            st.tuples(st.just("end"), st.just(0)),
            st.tuples(st.just("send"), st.integers(1, 5)),
            st.tuples(st.just("use"), st.floats(0, 1)),
            st.tuples(st.just("lose"), st.just(0)),
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_and_nothing_comes_twice(steps: list[tuple[str, float]]) -> None:
    out, server = Outgoing(200), Server()
    said, ends = 0, list[int]()
    for step, amount in steps:
        if step == "push":
            out.push(ramp(said, int(amount)))
            said += int(amount)
        elif step == "end":
            out.end()
            ends.append(said)
        elif step == "send":
            for _ in range(int(amount)):
                if (item := out.next()) is not None:
                    server.take(item)
        elif step == "use":
            out.used(*server.use(amount))
        else:
            out.again(*server.connect())
    out.finish()
    out.again(*server.connect())
    while (item := out.next()) is not None:
        server.take(item)
    assert server.heard == list(range(said))
    assert server.ends == ends
    assert server.finished


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
