"""A program that starts services, whose services are copies of it instead of new interpreters.

Usage: the arguments are its module and what it is given. Everything else is as it would be: they
are its children, have their own logs and environment, and notice when it is gone.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from unittest import mock

from tests.e2e.forked_services import ForkedProcess
from tests.fakes.forked_child import ForkedChild, run_module

_start = asyncio.create_subprocess_exec


async def fork(*words: str, **options: Any) -> Any:
    """``asyncio.create_subprocess_exec``; programs that are not services are started as ever."""
    if words[:2] == (sys.executable, "-m") and words[2].startswith("services."):
        sink = options["stdout"].fileno()
        return ForkedProcess(ForkedChild(words[2:], options["env"], sink=sink))
    return await _start(*words, **options)


if __name__ == "__main__":
    with mock.patch("asyncio.create_subprocess_exec", fork):
        run_module(sys.argv[1:])
