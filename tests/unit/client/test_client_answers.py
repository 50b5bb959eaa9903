"""Interruptions, one's own and others', and what they do to what a client keeps."""

from __future__ import annotations

import numpy as np
import pytest

from flashtalk.client import FlashTalkClient
from flashtalk.client.outgoing import Audio, Cut, End, Outgoing
from flashtalk.errors import InputError


def given(*steps: int | str) -> Outgoing:
    """Numbers push so many samples, "end" ends an utterance, other words interrupt."""
    out = Outgoing(100)
    for step in steps:
        if isinstance(step, int):
            out.push(np.zeros(step, np.float32))
        elif step == "end":
            out.end()
        else:
            out.cut(step, None)
    return out


def kinds(out: Outgoing) -> list[str]:
    return [type(item).__name__ for item in out._items]


@pytest.mark.parametrize("said", [0, 350])
def test_a_later_answer_answers_earlier_interruptions(said: int) -> None:
    out = given(150, "a", 100, "b", 100, "c", 50)
    assert out.interrupted("b", said) == ["a", "b"]
    assert out.cuts == 1
    assert out.waiting_samples == (400 - max(250, said))
    assert out.interrupted("a") == []
    assert out.interrupted("c", 400) == ["c"]
    assert out.waiting_samples == 0


def test_anothers_interruption_makes_room() -> None:
    """Without it a client whose window is full would wait for ever."""
    out = given(100, 100, "end", "mine", 100)
    while out.next() is not None:
        pass
    assert out.interrupted("somebody else's", 200, 1) == []
    assert out.waiting_samples == 100
    assert kinds(out) == ["Cut", "Audio"]
    assert out.next() is None, "what was sent stays sent"
    out.push(np.zeros(1, np.float32))
    assert isinstance(out.next(), Audio)


def test_what_is_used_is_forgotten_behind_an_open_interruption_too() -> None:
    out = given("mine", 100, "end", 100)
    assert isinstance(out.next(), Cut)
    out.used(100, 1)
    assert kinds(out) == ["Cut", "Audio"]
    item = out.next()
    assert isinstance(item, Audio)
    assert item.first_sample == 100


def test_one_that_nobody_waits_for_is_not_asked_again() -> None:
    out = given(100, "a", "end")
    while out.next() is not None:
        pass
    out.withdraw("a")
    out.withdraw("never asked")
    assert out.next() is None
    out.again(0, 0)
    assert [type(out.next()), type(out.next()), out.next()] == [Audio, End, None]


@pytest.mark.parametrize(
    "gateway", ["", "http://a:1", "dns:///a:1", "a", "a:", ":1", "a:0", "a:99999", "::1:5", "a b:1"]
)
def test_a_gateway_that_is_no_address_is_refused_at_once(gateway: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        FlashTalkClient(gateway)


@pytest.mark.parametrize("gateway", ["a:1", "127.0.0.1:50050", "[::1]:5", "a:1, b:2"])
def test_addresses_are_taken(gateway: str) -> None:
    FlashTalkClient(gateway)
