"""A signal to end comes between two steps, once."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from flashtalk.cli.interrupt import Interrupts


@pytest.fixture
def usual_sigint() -> Iterator[None]:
    """Python's own handler, also where whoever started the tests has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_sigint")
def test_interrupts_wait_for_the_step_that_is_running() -> None:
    done: list[str] = []

    def run() -> None:
        with interrupts.hold():
            signal.raise_signal(signal.SIGINT)
            with interrupts.hold():
                done.append("inner")
            done.append("outer")
        done.append("never")

    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            run()
        signal.raise_signal(signal.SIGINT)  # only the first one counts
    assert done == ["inner", "outer"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # the usual handler is back
