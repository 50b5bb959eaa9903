"""What a client has sent and the server does not have for good yet: sent again after a reconnect.

Legend: S samples.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from flashtalk.streaming import Pcm
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.wire import pcm_to_bytes


@dataclass(frozen=True, eq=False)
class Audio:
    """A piece of speech and the number of its first sample."""

    first_sample: int
    pcm_S: Pcm


@dataclass(frozen=True)
class End:
    """The end of an utterance; ``number`` counts them over the session, from 1."""

    number: int


@dataclass(frozen=True)
class Cut:
    """An interruption."""

    interrupt_id: str
    played_frames: int | None


@dataclass(frozen=True)
class Finish:
    """Nothing follows."""


Item = Audio | End | Cut | Finish


class Outgoing:
    """Items in the order in which they were given, and how many of them this connection has seen.

    Args:
        packet_samples: longest packet.
    """

    def __init__(self, packet_samples: int) -> None:
        self._packet_samples = packet_samples
        self._items: deque[Item] = deque()
        self._sent = 0
        self._position = 0
        self._ends = 0
        self.input_samples = 0
        self.finished = False

    @property
    def waiting_samples(self) -> int:
        """Samples that the server does not have for good."""
        return self._position - self.input_samples

    @property
    def cuts(self) -> int:
        """Interruptions that were not answered."""
        return sum(isinstance(item, Cut) for item in self._items)

    def push(self, pcm_S: Pcm) -> None:
        """Appends speech, in packets."""
        for begin in range(0, len(pcm_S), self._packet_samples):
            part_S = pcm_S[begin : begin + self._packet_samples]
            self._items.append(Audio(self._position, part_S))
            self._position += len(part_S)

    def end(self) -> None:
        """Appends the end of an utterance."""
        self._ends += 1
        self._items.append(End(self._ends))

    def cut(self, interrupt_id: str, played_frames: int | None) -> None:
        """Appends an interruption."""
        self._items.append(Cut(interrupt_id, played_frames))

    def finish(self) -> None:
        """Appends the end of everything."""
        self._items.append(Finish())
        self.finished = True

    def next(self) -> Item | None:
        """What is to be sent next on this connection."""
        if self._sent == len(self._items):
            return None
        self._sent += 1
        return self._items[self._sent - 1]

    def used(self, input_samples: int, utterances: int) -> None:
        """The server has these for good, wherever they stand."""
        self.input_samples = max(self.input_samples, input_samples)
        gone = [_is_used(item, input_samples, utterances) for item in self._items]
        self._sent -= sum(gone[: self._sent])
        self._items = deque(i for i, g in zip(self._items, gone, strict=True) if not g)

    def interrupted(
        self, interrupt_id: str, input_samples: int = 0, utterances: int = 0
    ) -> list[str]:
        """An interruption was carried out: what stood before it is gone, and so is it.

        Args:
            interrupt_id: of this client, or of somebody else.
            input_samples, utterances: what the server has for good since then; 0 if it does not
                say.

        Returns:
            The interruptions of this client that are answered by that: itself, and earlier ones,
            whose barrier it has passed too.
        """
        answered: list[str] = []
        if any(isinstance(i, Cut) and i.interrupt_id == interrupt_id for i in self._items):
            while not answered or answered[-1] != interrupt_id:
                item = self._items.popleft()
                self._sent = max(0, self._sent - 1)
                if isinstance(item, Audio):
                    end = item.first_sample + len(item.pcm_S)
                    self.input_samples = max(self.input_samples, end)
                elif isinstance(item, Cut):
                    answered.append(item.interrupt_id)
        self.used(input_samples, utterances)
        return answered

    def withdraw(self, interrupt_id: str) -> None:
        """Nobody waits for this interruption any more: a new connection does not ask for it."""
        for index, item in enumerate(self._items):
            if isinstance(item, Cut) and item.interrupt_id == interrupt_id:
                del self._items[index]
                self._sent -= index < self._sent
                return

    def again(self, input_samples: int, utterances: int) -> None:
        """A new connection, whose server has so much: everything else is sent again."""
        self._sent = 0
        # What another's interruption dropped counts as used, wherever it stands.
        kept = deque(item for item in self._items if not _is_used(item, input_samples, utterances))
        if kept and isinstance(kept[0], Audio) and kept[0].first_sample < input_samples:
            first = kept.popleft()
            assert isinstance(first, Audio)
            kept.appendleft(Audio(input_samples, first.pcm_S[input_samples - first.first_sample :]))
        self._items = kept
        self.input_samples = max(self.input_samples, input_samples)


def as_request(item: Item, encoding: media_pb2.AudioEncoding) -> stream_pb2.StreamRequest:
    """An item as a message."""
    if isinstance(item, Audio):
        packet = stream_pb2.AudioPacket(
            pcm=pcm_to_bytes(item.pcm_S, encoding), first_sample=item.first_sample
        )
        return stream_pb2.StreamRequest(audio=packet)
    if isinstance(item, End):
        return stream_pb2.StreamRequest(end_of_audio=stream_pb2.EndOfAudio())
    if isinstance(item, Cut):
        interrupt = stream_pb2.Interrupt(
            interrupt_id=item.interrupt_id, played_frames=item.played_frames
        )
        return stream_pb2.StreamRequest(interrupt=interrupt)
    return stream_pb2.StreamRequest(finish=stream_pb2.Finish())


def _is_used(item: Item, input_samples: int, utterances: int) -> bool:
    if isinstance(item, Audio):
        return item.first_sample + len(item.pcm_S) <= input_samples
    return isinstance(item, End) and item.number <= utterances
