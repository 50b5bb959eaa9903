"""What every program does with its streams, its errors and its exit code."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flashtalk.errors import InputError, ReaderGoneError, WeightsError
from flashtalk.terminal import (
    BAD_INPUT,
    INTERRUPTED,
    READER_GONE,
    OneLineParser,
    deliver,
    guarded,
    live_console,
    note,
    one_line,
    report_console,
    say,
    stopping_signals,
)
from tests.fakes.bad_inputs import Full, Gone, Hung, Stream


def raising(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("size", "0x0", "at least 16"), BAD_INPUT, "program: size: 0x0: at least 16"),
        (WeightsError("several\nlines\tof it"), BAD_INPUT, "program: several lines of it"),
        (ReaderGoneError("out", "-", "reader has closed"), READER_GONE, ""),
        (BrokenPipeError(32, "Broken pipe"), READER_GONE, ""),
        (KeyboardInterrupt(), INTERRUPTED, ""),
        (PermissionError(13, "Permission denied", "a/b"), 2, "program: a/b: Permission denied"),
        (FileNotFoundError(2, "No usable folder"), 2, "program: No usable folder"),
    ],
)
def test_what_a_program_ends_with_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    err = Stream(None)
    monkeypatch.setattr(sys, "stdout", Stream(None))
    monkeypatch.setattr(sys, "stderr", err)
    assert guarded("program", raising(error)) == code
    assert err.text == (line and line + "\n")


def test_the_code_of_a_program_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert guarded("program", lambda: 7) == 7
    with pytest.raises(SystemExit) as stopped:
        guarded("program", raising(SystemExit("text")))
    assert stopped.value.code == 1


@pytest.mark.parametrize("error", [Gone, Full, Hung])
def test_a_line_beside_the_work_never_stops_it(
    error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    err = Stream(None)
    monkeypatch.setattr(sys, "stdout", Stream(error))
    monkeypatch.setattr(sys, "stderr", err)
    say("done")
    assert err.text == ("" if error is Gone else "done\n")
    live_console().print("going on")
    monkeypatch.setattr(sys, "stderr", Stream(error))
    say("done")
    note("odd")
    live_console(stderr=True).print("going on")


def test_what_was_asked_for_cannot_be_lost_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Stream(Gone))
    for print_it in (deliver, report_console().print):
        with pytest.raises(ReaderGoneError):
            print_it("a table")
    monkeypatch.setattr(sys, "stdout", Stream(Full))
    for print_it in (deliver, report_console().print):
        with pytest.raises(InputError, match=r"standard output: not writable \(No space left"):
            print_it("a table")


def test_closed_streams_are_written_to_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    say("done")
    note("odd")
    deliver("text")
    report_console().print("table")
    assert guarded("program", raising(InputError("a", 1, "2"))) == BAD_INPUT


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_alphabet_lacks_is_an_escape(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Stream(None, encoding)
    monkeypatch.setattr(sys, "stdout", out)

    def body() -> int:
        say("\N{SNOWMAN} \udcff.mp4")
        report_console().print("\N{SNOWMAN}", "[bold]\N{BOX DRAWINGS LIGHT HORIZONTAL}[/bold]")
        return 0

    assert guarded("program", body) == 0
    assert "\\udcff.mp4" in out.text
    assert ("\\u2603" in out.text) is (encoding != "utf-8")


def test_messages_are_one_line_of_a_length_that_can_be_read() -> None:
    assert one_line(" a\n b\x1b[31m\u202e\udcff ") == "a b\\x1b[31m\\u202e\\udcff"
    assert one_line("é \N{PILE OF POO}") == "é \N{PILE OF POO}"
    long = one_line("a" * 5_000 + "z")
    assert len(long) < 1_010
    assert long.endswith("z")


def test_errors_of_a_parser_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OneLineParser(prog="program")
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["x\ny"])
    assert stopped.value.code == BAD_INPUT
    assert capsys.readouterr().err == ("program: unrecognized arguments: x y (see --help)\n")


def test_the_end_of_the_terminal_counts_unless_it_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert signal.SIGHUP in stopping_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
        assert stopping_signals() == (signal.SIGINT, signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from flashtalk.terminal import guarded\n"
        "def body():\n"
        "    file = open(sys.argv[1], 'w')\n"
        "    os.write(1, b'noise')\n"
        "    os.write(2, b'noise')\n"
        "    file.write(str(file.fileno()))\n"
        "    return 0\n"
        "sys.exit(guarded('program', body))\n"
    )
    path = tmp_path / "file"
    command = f'{sys.executable} -c "$1" {path} <&- >&- 2>&-'
    done = subprocess.run(["bash", "-c", command, "bash", program], check=False)
    assert done.returncode == 0
    assert int(path.read_text()) > 2


@pytest.mark.parametrize("columns", ["1", "0", "²", "-5", "9" * 20, "abc", ""])
def test_widths_that_make_no_sense_are_forgotten(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", columns)

    def body() -> int:
        report_console().print("word " * 10)
        return 0

    assert guarded("program", body) == 0
    assert out.getvalue() == "word " * 10 + "\n"
