"""The client's resend buffer: input that the server has not committed is resent after a reconnect.

Legend: S samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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
class Prompt:
    """An update of the prompt."""

    update_id: str
    prompt: str


@dataclass(frozen=True)
class Finish:
    """The end of all input."""


Item = Audio | End | Cut | Prompt | Finish


class Outgoing:
    """A queue of items in order, with the number that was sent on the current connection.

    Args:
        packet_samples: maximum samples per packet.
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
        """Number of samples that the server has not committed."""
        return self._position - self.input_samples

    @property
    def cuts(self) -> int:
        """Number of interruptions without acknowledgement."""
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

    def prompt(self, update_id: str, prompt: str) -> None:
        """Appends an update of the prompt."""
        self._items.append(Prompt(update_id, prompt))

    def finish(self) -> None:
        """Appends the end of all input."""
        self._items.append(Finish())
        self.finished = True

    def next(self) -> Item | None:
        """Returns the next item to send on this connection, if any."""
        if self._sent == len(self._items):
            return None
        self._sent += 1
        return self._items[self._sent - 1]

    def used(self, input_samples: int, utterances: int) -> None:
        """Removes input that the server has committed."""
        self.input_samples = max(self.input_samples, input_samples)
        gone = [_is_used(item, input_samples, utterances) for item in self._items]
        self._sent -= sum(gone[: self._sent])
        self._items = deque(i for i, g in zip(self._items, gone, strict=True) if not g)

    def interrupted(
        self, interrupt_id: str, input_samples: int = 0, utterances: int = 0
    ) -> list[str]:
        """Removes an acknowledged interruption and the items before it, except updates of the
        prompt, which it does not drop.

        Args:
            interrupt_id: id of the interruption, of this client or of another caller.
            input_samples, utterances: input that the server has committed since; 0 if unknown.

        Returns:
            This client's interruptions that are thereby acknowledged: this one and earlier ones,
            whose barrier has passed too.
        """
        answered: list[str] = []
        if any(isinstance(i, Cut) and i.interrupt_id == interrupt_id for i in self._items):
            prompts: list[Prompt] = []
            while not answered or answered[-1] != interrupt_id:
                item = self._items.popleft()
                if isinstance(item, Prompt):
                    prompts.append(item)
                    continue
                self._sent = max(0, self._sent - 1)
                if isinstance(item, Audio):
                    end = item.first_sample + len(item.pcm_S)
                    self.input_samples = max(self.input_samples, end)
                elif isinstance(item, Cut):
                    answered.append(item.interrupt_id)
            self._items.extendleft(reversed(prompts))
        self.used(input_samples, utterances)
        return answered

    def withdraw(self, interrupt_id: str) -> None:
        """Removes an interruption without a waiting caller, so that it is not resent."""
        self._remove(lambda item: isinstance(item, Cut) and item.interrupt_id == interrupt_id)

    def prompted(self, update_id: str) -> None:
        """Removes an update of the prompt that was answered, or has no waiting caller."""
        self._remove(lambda item: isinstance(item, Prompt) and item.update_id == update_id)

    def _remove(self, found: Callable[[Item], bool]) -> None:
        for index, item in enumerate(self._items):
            if found(item):
                del self._items[index]
                self._sent -= index < self._sent
                return

    def again(self, input_samples: int, utterances: int) -> None:
        """Starts a new connection: everything that the server has not committed is resent."""
        self._sent = 0
        # Input that another caller's interruption dropped counts as used, at any position.
        kept = deque(item for item in self._items if not _is_used(item, input_samples, utterances))
        for index, item in enumerate(kept):
            if isinstance(item, Audio):
                used = input_samples - item.first_sample
                if used > 0:
                    kept[index] = Audio(input_samples, item.pcm_S[used:])
                break
        self._items = kept
        self.input_samples = max(self.input_samples, input_samples)


def as_request(item: Item, encoding: media_pb2.AudioEncoding) -> stream_pb2.StreamRequest:
    """Converts an item to a message."""
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
    if isinstance(item, Prompt):
        update = stream_pb2.PromptUpdate(update_id=item.update_id, prompt=item.prompt)
        return stream_pb2.StreamRequest(prompt_update=update)
    return stream_pb2.StreamRequest(finish=stream_pb2.Finish())


def _is_used(item: Item, input_samples: int, utterances: int) -> bool:
    if isinstance(item, Audio):
        return item.first_sample + len(item.pcm_S) <= input_samples
    return isinstance(item, End) and item.number <= utterances
