"""Runs a function on several ranks of this machine, one process each; none outlives the call.

The ranks meet through a file, use gloo on a CPU and NCCL on GPUs, and have a timeout: a rank that
dies or hangs ends all of them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from flashtalk.errors import FlashTalkError, InputError

CONTEXT: BaseContext = multiprocessing.get_context("spawn")
_EXCHANGE_S = 120.0
_FAREWELL_S = 10.0
_CAUSE_S = 1.0


class RankFailed(FlashTalkError):
    """A rank raised, died or exceeded the timeout; the text names the rank and the reason."""


def check_ranks(ranks: int, device: torch.device) -> None:
    """Raises InputError if this machine has too few devices: one GPU or one core per rank."""
    if ranks < 1:
        raise InputError("ranks", ranks, "at least 1")
    if device.type == "cuda":
        there = torch.cuda.device_count()
        if ranks > there:
            raise InputError("ranks", ranks, f"at most {there}, one per GPU of this machine")
    elif device.type != "cpu" and ranks > 1:
        raise InputError("ranks", ranks, f"must be 1 on {device.type}")
    elif ranks > (cores := multiprocessing.cpu_count()):
        raise InputError("ranks", ranks, f"at most {cores}, one per core of this machine")


def on_ranks(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    ranks: int,
    device_type: str,
    limit_s: float,
) -> list[Any]:
    """Runs ``function(rank, ranks, *arguments)`` in every process with ``torch.distributed``.

    Args:
        function: of a module; its arguments and its result are pickled.
        ranks: number of ranks.
        device_type: ``cpu`` or ``cuda``; with ``cuda`` rank n uses device n.
        limit_s: timeout of everything, including the starts.

    Returns:
        The results by rank.

    Raises:
        RankFailed: a rank failed.
    """
    processes: list[BaseProcess] = []
    ends: list[Connection] = []
    answered = False
    with tempfile.TemporaryDirectory(prefix="flashtalk-ranks-") as folder:
        try:
            for rank in range(ranks):
                here, there = CONTEXT.Pipe(duplex=False)
                given = there, rank, ranks, device_type, str(Path(folder) / "meeting")
                process = CONTEXT.Process(  # type: ignore[attr-defined]
                    target=_rank, args=(*given, function, arguments), daemon=True
                )
                process.start()
                there.close()
                processes.append(process)
                ends.append(here)
            answers = _answers(processes, ends, time.monotonic() + limit_s)
            answered = True
            return answers
        finally:
            _end(processes, ends, _FAREWELL_S if answered else 0.0)


@dataclass(frozen=True)
class _Failure:
    """A failed rank: when it failed on the monotonic clock of all processes, and its message."""

    at_s: float
    message: str


def _answers(processes: list[BaseProcess], ends: list[Connection], until_s: float) -> list[Any]:
    answers: dict[int, Any] = {}
    while waiting := [rank for rank in range(len(ends)) if rank not in answers]:
        ready = wait([ends[rank] for rank in waiting], max(0.0, until_s - time.monotonic()))
        if not ready:
            late = ", ".join(map(str, waiting))
            raise RankFailed(f"timeout: no result from rank {late}")
        found = {r: _answer(r, processes[r], ends[r]) for r in waiting if ends[r] in ready}
        answers |= found
        failures = [answer for answer in found.values() if isinstance(answer, _Failure)]
        if failures:
            others = [rank for rank in waiting if rank not in found]
            failures += _other_failures(processes, ends, others)
            raise RankFailed(min(failures, key=lambda failure: failure.at_s).message)
    return [answers[rank] for rank in range(len(ends))]


def _other_failures(
    processes: list[BaseProcess], ends: list[Connection], ranks: list[int]
) -> list[_Failure]:
    """Returns the failures of other ranks: one that fails makes others fail at their next
    exchange, and their messages can arrive before its own."""
    until_s, found = time.monotonic() + _CAUSE_S, []
    for rank in ranks:
        if ends[rank].poll(max(0.0, until_s - time.monotonic())):
            found.append(_answer(rank, processes[rank], ends[rank]))
    return [answer for answer in found if isinstance(answer, _Failure)]


def _answer(rank: int, process: BaseProcess, end: Connection) -> Any:
    """Returns the result of a rank, or its failure; one that died failed before all others."""
    try:
        failed_s, value = end.recv()
    except EOFError:
        process.join(_FAREWELL_S)
        return _Failure(0.0, f"rank {rank} ended with exit code {process.exitcode}")
    return value if failed_s is None else _Failure(failed_s, f"rank {rank}: {value}")


def _end(processes: list[BaseProcess], ends: list[Connection], patience_s: float) -> None:
    """Waits for ranks that have answered and stops the others."""
    until_s = time.monotonic() + patience_s
    for process, end in zip(processes, ends, strict=True):
        end.close()
        process.join(max(0.0, until_s - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _rank(
    end: Connection,
    rank: int,
    ranks: int,
    device_type: str,
    meeting: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    import torch.distributed as dist

    # Ctrl-C reaches every process of a terminal; the starting process ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if device_type == "cuda":
            torch.cuda.set_device(rank)
        else:
            torch.set_num_threads(max(1, multiprocessing.cpu_count() // ranks))
        dist.init_process_group(
            "nccl" if device_type == "cuda" else "gloo",
            f"file://{meeting}",
            rank=rank,
            world_size=ranks,
            timeout=timedelta(seconds=_EXCHANGE_S),
        )
        answer: tuple[float | None, Any] = None, function(rank, ranks, *arguments)
        dist.barrier()
        dist.destroy_process_group()
    except Exception as error:
        answer = time.monotonic(), f"{type(error).__name__}: {error}"
    with contextlib.suppress(OSError):
        end.send(answer)
    end.close()
