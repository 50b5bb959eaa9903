"""Standard streams, errors and exit codes of every program in this project.

Standard streams may be closed, full, without an encoding or without a reader; none of that causes a
traceback or loses results.

Exit codes: 0 done, 1 an error of the program itself, 2 bad input (one line on standard error names
field, value and limit), 130 interrupted, 141 the reader of the output has closed it (as after
SIGPIPE; quiet). ``FLASHTALK_DEBUG=1`` shows tracebacks.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
import traceback
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

from flashtalk.errors import FlashTalkError, InputError, ReaderGoneError

if TYPE_CHECKING:
    from rich.console import Console

INTERNAL, BAD_INPUT, INTERRUPTED, READER_GONE = 1, 2, 130, 141
DEBUG_VARIABLE = "FLASHTALK_DEBUG"
_LONGEST_LINE = 1_000
_LEAST_COLUMNS, _MOST_COLUMNS = 20, 10_000
_LOST: weakref.WeakSet[TextIO] = weakref.WeakSet()
"""Streams whose failure was handled."""


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, like those of every other bad input."""

    def error(self, message: str) -> NoReturn:
        """Prints the line and exits with 2."""
        note(f"{self.prog}: {message} (see --help)")
        self.exit(BAD_INPUT)


def guarded(name: str, body: Callable[[], int]) -> int:
    """Runs a program; converts its end to one line and an exit code.

    Args:
        name: of the program, as a prefix of its errors.
        body: returns the exit code.

    Raises:
        SystemExit: from the argument parser.
    """
    prepare_streams()
    try:
        code = body()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise SystemExit(_flushed(name, code)) from None
    except ReaderGoneError:
        code = READER_GONE
    except FlashTalkError as error:
        note(f"{name}: {error}")
        code = BAD_INPUT
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        _give_up(sys.stdout)
        code = READER_GONE
    except Exception as error:
        if debugging():
            raise
        code = INTERNAL
        if isinstance(error, OSError) and error.strerror:
            # The cause is more likely the machine than the program.
            place = "" if error.filename is None else f"{error.filename!s}: "
            note(f"{name}: {place}{error.strerror}")
            code = BAD_INPUT
        else:
            note(f"{name}: {_internal(error)}")
    return _flushed(name, code)


def debugging() -> bool:
    """Whether tracebacks are shown."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def prepare_streams() -> None:
    """Makes the standard streams safe to use.

    A closed one is opened as the null device: otherwise the next opened file would get its number
    and the output of libraries. Characters that an encoding lacks are printed as escapes.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Returns the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # gRPC, which commands import later, would print a line to standard error for every TLS
    # connection that fails, beside our one line.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    for name in ("COLUMNS", "LINES"):
        # Libraries parse this variable as a number and expect a plausible one.
        text = os.environ.get(name, "80")
        if not (text.isascii() and text.isdecimal() and len(text) < 6) or not (
            _LEAST_COLUMNS <= int(text) <= _MOST_COLUMNS
        ):
            del os.environ[name]


def say(line: str) -> None:
    """Prints a status line on standard output; the program continues if it cannot be written."""
    try:
        _write(sys.stdout, line + "\n")
    except ReaderGoneError:
        return
    except InputError:
        note(line)


def note(line: str) -> None:
    """Prints a line on standard error; ignores failures of the stream."""
    with contextlib.suppress(InputError):
        _write(sys.stderr, one_line(line) + "\n")


def tell(line: str) -> None:
    """Prints a warning about an unusual but valid input."""
    note(f"note: {line}")


def deliver(text: str) -> None:
    """Prints a result on standard output.

    Raises:
        ReaderGoneError: the reader has closed it.
        InputError: it cannot be written.
    """
    _write(sys.stdout, text)


def one_line(text: str) -> str:
    """Returns a message of limited length, without line ends and control characters."""
    words = " ".join(text.split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    if len(shown) <= _LONGEST_LINE:
        return shown
    half = _LONGEST_LINE // 2
    return f"{shown[:half]} ... {shown[-half:]}"


def report_console() -> Console:
    """Returns a console for results. Printing raises as ``deliver``."""
    from rich.console import Console

    return Console(file=cast(TextIO, _Text(lambda: sys.stdout, deliver)))


def live_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Returns a console for progress; ignores failures of the stream."""
    from rich.console import Console

    def write(text: str) -> None:
        with contextlib.suppress(InputError):
            _write(stream(), text)

    def stream() -> TextIO | None:
        return sys.stderr if stderr else sys.stdout

    return Console(file=cast(TextIO, _Text(stream, write)), quiet=quiet)


def stopping_signals() -> tuple[signal.Signals, ...]:
    """Returns the terminating signals: Ctrl-C, SIGTERM, and SIGHUP unless ``nohup``."""
    found = [signal.SIGINT, signal.SIGTERM]
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        found.append(hangup)
    return tuple(found)


class _Text(io.TextIOBase):
    """A standard stream for rich; its errors are those of ``write``."""

    def __init__(self, stream: Callable[[], TextIO | None], write: Callable[[str], None]) -> None:
        self._stream, self._put = stream, write

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Returns the encoding, by which rich chooses its lines and boxes."""
        return getattr(self._stream(), "encoding", None) or "ascii"

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        stream = self._stream()
        try:
            return stream is not None and stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Returns the stream's number, by which rich reads the size of the terminal."""
        stream = self._stream()
        if stream is None:
            raise io.UnsupportedOperation("closed")
        return stream.fileno()

    def write(self, text: str) -> int:
        """Writes and flushes."""
        self._put(text)
        return len(text)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        # It was closed when the program began, so its output is not wanted.
        return
    try:
        if text:  # a device may reject even an empty text
            stream.write(text)
        stream.flush()
    except (OSError, ValueError) as error:
        _give_up(stream)
        raise _stream_error(error) from error


def _stream_error(error: OSError | ValueError) -> InputError:
    if isinstance(error, BrokenPipeError | ConnectionError):
        return ReaderGoneError("out", "standard output", "the reader has closed the pipe")
    reason = getattr(error, "strerror", None) or str(error)
    return InputError("out", "standard output", f"not writable ({reason})")


def _give_up(stream: TextIO | None) -> None:
    """Discards the stream's buffer, which would cause an error at exit."""
    if stream is None:
        return
    _LOST.add(stream)
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()


def _flushed(name: str, code: int) -> int:
    """Returns the exit code after everything is printed."""
    stream = sys.stdout
    if stream is None or stream.closed or stream in _LOST:
        return code
    try:
        _write(stream, "")
    except ReaderGoneError:
        return code or READER_GONE
    except InputError as error:
        if not code:
            note(f"{name}: {error}")
        return code or BAD_INPUT
    return code


def _internal(error: BaseException) -> str:
    """Prints one line about an unexpected error and the path of its traceback."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, MemoryError):
        what = "out of memory"
    else:
        what = f"internal error: {type(error).__name__}: {error}"
    hint = f"set {DEBUG_VARIABLE}=1 to show the traceback"
    with contextlib.suppress(OSError, ValueError):
        kept = tempfile.NamedTemporaryFile(  # noqa: SIM115 - it stays
            "w",
            prefix="flashtalk-",
            suffix=".traceback",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        )
        with kept:
            traceback.print_exception(error, file=kept)
        hint = f"{hint}; it was saved to {kept.name}"
    return f"{one_line(what)} ({hint})"
