"""Where a video goes: links stay links, files keep their mode, and nothing else is left."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest

from flashtalk.errors import InputError
from flashtalk.media import Mp4Writer, check_target
from flashtalk.media.target import Target


def write(path: Path) -> bytes:
    """A video of one frame there; gives the file's bytes."""
    with Mp4Writer(path, fps=25, size_hw=(32, 32), pcm_hz=16_000) as out:
        out.write(np.zeros((1, 32, 32, 3), np.uint8), np.zeros(640, np.float32))
    data = path.read_bytes()
    assert data[4:8] == b"ftyp"
    return data


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_one(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    real, link, second = folder / "real.bin", tmp_path / "a.mp4", tmp_path / "b.mp4"
    if there:
        real.write_bytes(b"old")
    link.symlink_to("videos/real.bin")
    second.symlink_to(link)
    assert write(second) == real.read_bytes()
    assert link.is_symlink()
    assert second.is_symlink()
    assert [path.name for path in folder.iterdir()] == ["real.bin"]


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o666, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    path.chmod(bits)
    write(path)
    assert mode(path) == bits


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_a_new_file_has_the_mode_that_the_umask_says(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "a.mp4")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a.mp4") == 0o666 & ~mask


@pytest.fixture
def closed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that takes no new file, also from root: only the attempt to make one is refused."""
    whole = Path.touch

    def refused(self: Path, mode: int = 0o666, exist_ok: bool = True) -> None:
        if self.parent == tmp_path / "closed":
            raise PermissionError(13, "Permission denied", str(self))
        whole(self, mode, exist_ok)

    (tmp_path / "closed").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(Path, "touch", refused)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "closed"


def test_an_old_file_in_a_closed_folder_is_filled(closed_folder: Path) -> None:
    path = closed_folder / "a.mp4"
    path.write_bytes(b"old" * 10_000)
    path.chmod(0o600)
    number = path.stat().st_ino
    write(path)
    assert path.stat().st_ino == number
    assert mode(path) == 0o600
    assert list((closed_folder.parent / "temporary").iterdir()) == []


def test_a_new_file_in_a_closed_folder_is_refused(closed_folder: Path) -> None:
    with pytest.raises(InputError, match=r"not writable \(Permission denied"):
        check_target(closed_folder / "a.mp4")
    assert list(closed_folder.iterdir()) == []


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("a.mp4")
    with pytest.raises(InputError, match="symbolic link to itself"):
        Target(tmp_path / "a.mp4")


def test_a_pipe_and_a_device_are_no_places(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").symlink_to("/dev/null")
    for name in ("a.mp4", "b.mp4"):
        with pytest.raises(InputError, match="not a file"):
            Target(tmp_path / name)
