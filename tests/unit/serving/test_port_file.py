"""A port file is there whole or not at all, for a reader that looks at any moment."""

import threading
from pathlib import Path

import pytest

from flashtalk.serving.port_file import read_port, write_port


def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.port"
    assert read_port(path) is None
    write_port(path, 50_051)
    assert read_port(path) == 50_051
    write_port(path, 7)
    assert read_port(path) == 7
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "5", "50051", "\n", "five\n", "50051\n\n", "-1\n"])
def test_only_a_whole_line_counts(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.port"
    path.write_text(text)
    assert read_port(path) is None


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path, ended = tmp_path / "a.port", threading.Event()
    seen: set[int | None] = set()

    def read() -> None:
        while not ended.is_set():
            seen.add(read_port(path))

    reader = threading.Thread(target=read)
    reader.start()
    number = 0
    while number < 200 or not seen >= {10_000, 10_001}:
        write_port(path, 10_000 + number % 2)
        number += 1
    ended.set()
    reader.join()
    assert seen <= {None, 10_000, 10_001}


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_port(tmp_path / "none" / "a.port", 1)
