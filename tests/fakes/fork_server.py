"""Programs as copies of one process that has imported everything.

Importing takes a process seconds, many times as long as what a test asks of it. The rest is the
same: the module runs as ``python -m`` runs it, in a process of its own. Which tests run first does
not matter: whoever comes first starts the one server of this test process, with everything.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

from tests.fakes.forked_child import run_module

PRELOADED = [
    "torch",
    "torch.distributed.fsdp",
    "torch.distributed.run",
    "torch.profiler",
    "flashtalk.parallel",
    "training.train",
    "training.evaluate.__main__",
    "flashtalk.cli.talking",
    "services.health.__main__",
    "services.audio_encoder.__main__",
    "services.dit_worker.__main__",
    "services.gateway.__main__",
    "services.vae_decoder.__main__",
    "tests.fakes.stand_in_workers",
]
_PARENT = "_PARENT_PID"


def fork_server() -> ForkServerContext:
    """Its processes begin with all of ``PRELOADED``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def begin(
    module: str,
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    errors: Path | None = None,
) -> BaseProcess:
    """``python -m MODULE ARGUMENTS`` in this environment.

    Its output is added to ``log``; what it says on standard error to ``errors``, if given.
    """
    logs = (str(log), str(errors or log))
    process = fork_server().Process(
        target=_run, args=(module, list(arguments), logs, dict(environment)), daemon=True
    )
    process.start()
    return process


def completed(
    module: str,
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    limit_s: float,
) -> CompletedProcess[str]:
    """As ``subprocess.run`` of ``python -m MODULE ARGUMENTS``; killed after ``limit_s``.

    Args:
        folder: for its output.
    """
    out, errors = (folder / f"{uuid.uuid4().hex}.{name}" for name in ("out", "errors"))
    process = begin(module, arguments, out, environment, errors)
    process.join(limit_s)
    process.kill()
    process.join()
    said = [path.read_text() if path.exists() else "" for path in (out, errors)]
    return CompletedProcess([module, *arguments], process.exitcode or 0, *said)


def _run(
    module: str,
    arguments: Sequence[str],
    logs: tuple[str, str],
    environment: Mapping[str, str],
) -> None:
    os.environ.clear()  # noqa: TID251 - what a shell would hand on
    os.environ.update(environment)  # noqa: TID251
    for name in environment:
        if name.endswith(_PARENT):  # the server is, as far as the system knows
            os.environ[name] = str(os.getppid())  # noqa: TID251
    for number, name, log in ((1, "stdout", logs[0]), (2, "stderr", logs[1])):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w"), write_through=True))
    run_module([module, *arguments])
