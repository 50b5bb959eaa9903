"""``python -m torch.distributed.run`` whose ranks are copies of it instead of new interpreters.

The launcher, its rendezvous and its watch are torchrun's own; what a rank imports is there already
(see ``fork_server``), and that is nine tenths of its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from unittest import mock

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

from tests.fakes.forked_child import ForkedChild
from tests.fakes.hanging_rank import VARIABLE


def rank(_: SubprocessHandler, words: Sequence[str], environment: Mapping[str, str]) -> ForkedChild:
    """Instead of interpreter, ``-u``, ``-m``, the module and its arguments."""
    assert list(words[1:3]) == ["-u", "-m"], words
    program = list(words[3:])
    if VARIABLE in environment:
        program.insert(0, "tests.fakes.hanging_rank")
    return ForkedChild(program, environment, own_session=True)


if __name__ == "__main__":
    with mock.patch.object(SubprocessHandler, "_popen", rank):
        run.main()
