"""What the store is known to have: by session, for so many sessions."""

from __future__ import annotations

import numpy as np

from services.gateway.store.known_arrays import KnownArrays

ONE, TWO = np.array([1.0], np.float32), np.array([2.0], np.float32)
ARRAYS = {b"one": ONE, b"two": TWO}


def test_only_what_is_not_known_is_sent() -> None:
    known = KnownArrays()
    assert known.unsent("s", ARRAYS) == ARRAYS
    known.add("s", [b"one"])
    assert known.unsent("s", ARRAYS) == {b"two": TWO}
    assert known.unsent("other", ARRAYS) == ARRAYS
    known.add("s", [b"two"])
    assert known.unsent("s", ARRAYS) == {}
    known.replace("s", [b"two"])
    assert known.unsent("s", ARRAYS) == {b"one": ONE}
    known.forget("s")
    known.forget("never heard of")
    assert known.unsent("s", ARRAYS) == ARRAYS


def test_the_sessions_that_were_used_last_are_remembered() -> None:
    known = KnownArrays()
    known.replace("kept", ARRAYS)
    known.replace("forgotten", ARRAYS)
    for number in range(4_095):
        known.add("kept", ARRAYS)
        known.replace(str(number), ARRAYS)
    assert len(known) == 4_096
    assert known.unsent("kept", ARRAYS) == {}
    assert known.unsent("forgotten", ARRAYS) == ARRAYS
