"""The name of a checkpoint: everything that decides over frames is in it, nothing else."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

from flashtalk.engine import (
    FlashTalkPipeline,
    flashtalk_checkpoint,
    open_checkpoint,
    weights_digest,
)
from flashtalk.engine.digest_cache import DigestCache, FileStamp
from flashtalk.engine.flashtalk_checkpoint import parts_of
from flashtalk.models.checkpoint import find_checkpoint
from tests.fakes.weights import MICRO, micro_pipeline, write_own, write_published_layout


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


@pytest.fixture(scope="module")
def own(pipeline: FlashTalkPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(pipeline, tmp_path_factory.mktemp("own") / "tiny")


def pieces(folder: Path) -> Mapping[str, Path]:
    return parts_of(find_checkpoint(folder))


def digest(folder: Path) -> str:
    return weights_digest(pieces(folder))


def test_place_and_card_do_not_matter(own: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(own, tmp_path / "renamed"))
    (elsewhere / "README.md").write_text("a card")
    (elsewhere / "dit" / "notes.txt").write_text("a note")
    assert digest(elsewhere) == digest(own)
    assert len(digest(own)) == 64


@pytest.mark.parametrize(
    "file",
    [
        "dit/config.json",
        "dit/model.safetensors",
        "vae/model.safetensors",
        "wav2vec2/model.safetensors",
        "clip/model.safetensors",
        "umt5/tokenizer.json",
        "pipeline.json",
    ],
)
def test_one_changed_byte_anywhere_changes_the_name(own: Path, tmp_path: Path, file: str) -> None:
    folder = Path(shutil.copytree(own, tmp_path / "tiny"))
    path = folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert digest(folder) != digest(own)


def test_a_published_folder_has_a_name_too(pipeline: FlashTalkPipeline, tmp_path: Path) -> None:
    folder = write_published_layout(pipeline, tmp_path / "14b")
    before = digest(folder)
    (folder / "README.md").write_text("a card")
    assert digest(folder) == before
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"note": 1}))
    assert digest(folder) != before


def test_stages_load_one_by_one(own: Path, pipeline: FlashTalkPipeline) -> None:
    """A worker of one stage never reads the weights of another."""
    for stage, removed in (
        ("load_audio", "dit/model.safetensors"),
        ("load_denoiser", "vae/model.safetensors"),
        ("load_denoiser", "umt5/model.safetensors"),  # nor does a rank that is handed tokens
        ("load_encoders", "dit/model.safetensors"),
        ("load_codec", "wav2vec2/model.safetensors"),
    ):
        checkpoint = open_checkpoint("tiny", own, device="cpu")
        hidden = own / removed
        aside = hidden.rename(hidden.with_suffix(".aside"))
        try:
            assert getattr(checkpoint, stage)() is not None
        finally:
            aside.rename(hidden)
    assert flashtalk_checkpoint(open_checkpoint("tiny", own, device="cpu")).sizes == MICRO


@pytest.fixture
def settled(own: Path, tmp_path: Path) -> Path:
    """A checkpoint that nobody has touched for an hour."""
    return Path(shutil.copytree(own, tmp_path / "settled"))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this machine says an hour more than the file system has written."""
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 3_600 * 10**9)


class Counting:
    """How many files the digest reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = 0
        real = Path.open

        def opening(path: Path, mode: str = "r", **named: Any) -> IO[Any]:
            self.opened += mode == "rb"
            return real(path, mode, **named)

        monkeypatch.setattr(Path, "open", opening)

    def during(self, folder: Path, cache: DigestCache) -> int:
        """Files that are read for the digest of a folder."""
        before = self.opened
        weights_digest(pieces(folder), cache)
        return self.opened - before


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


@pytest.fixture
def cache(tmp_path: Path) -> DigestCache:
    return DigestCache(tmp_path / "cache" / "digests")


@pytest.mark.usefixtures("later")
def test_the_second_start_reads_nothing(settled: Path, cache: DigestCache, reads: Counting) -> None:
    assert reads.during(settled, cache) > 5
    assert reads.during(settled, cache) == 0
    assert weights_digest(pieces(settled), cache) == digest(settled)


@pytest.mark.usefixtures("later")
def test_as_many_other_bytes_under_the_old_time_are_noticed(
    settled: Path, cache: DigestCache
) -> None:
    """A copy that keeps times; a file written in place whose time is set back."""
    path = settled / "vae" / "model.safetensors"
    for how in ("in place", "another file"):
        before, times = weights_digest(pieces(settled), cache), path.stat()
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        place = path if how == "in place" else path.with_suffix(".new")
        place.write_bytes(bytes(content))
        os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
        place.replace(path)
        after = weights_digest(pieces(settled), cache)
        assert after == digest(settled)
        assert after != before


@pytest.mark.usefixtures("later")
def test_another_time_is_read_again_and_is_the_same(
    settled: Path, cache: DigestCache, reads: Counting
) -> None:
    before = weights_digest(pieces(settled), cache)
    os.utime(settled / "pipeline.json", ns=(10**18, 10**18))
    assert reads.during(settled, cache) > 5
    assert weights_digest(pieces(settled), cache) == before


@pytest.mark.parametrize("skew_s", [-3_600, 0, 59])
def test_files_that_were_just_written_are_not_trusted(
    settled: Path, cache: DigestCache, skew_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system's clock may be another machine's, in the future too."""
    now_ns = max(path.stat().st_ctime_ns for path in settled.rglob("*"))
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + int(skew_s * 1e9))
    weights_digest(pieces(settled), cache)
    assert not cache.folder.exists()


@pytest.mark.usefixtures("later")
def test_what_changes_while_it_is_read_is_not_kept(
    settled: Path, cache: DigestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def touched(path: Path, mode: str = "r", **named: Any) -> IO[Any]:
        if mode == "rb":
            os.utime(path)
        return real(path, mode, **named)

    monkeypatch.setattr(Path, "open", touched)
    weights_digest(pieces(settled), cache)
    assert not cache.folder.exists()


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("content", [b"", b"abc\n", b"\xff" * 65, b"0" * 64, b"0" * 64 + b"\n\n"])
def test_an_entry_that_is_none_is_read_over(
    settled: Path, cache: DigestCache, content: bytes
) -> None:
    expected = weights_digest(pieces(settled), cache)
    [entry] = cache.folder.iterdir()
    entry.write_bytes(content)
    assert weights_digest(pieces(settled), cache) == expected
    assert entry.read_text() == f"{expected}\n"


@pytest.mark.usefixtures("later")
def test_a_home_that_cannot_be_written_costs_only_time(settled: Path, tmp_path: Path) -> None:
    """A file where the folder should be is refused to whoever asks, root included."""
    (tmp_path / "home").write_text("no folder")
    for _ in range(2):
        blocked = DigestCache(tmp_path / "home" / "digests")
        assert weights_digest(pieces(settled), blocked) == digest(settled)


@pytest.mark.usefixtures("later")
def test_an_entry_that_cannot_be_read_is_none(settled: Path, cache: DigestCache) -> None:
    expected = weights_digest(pieces(settled), cache)
    [entry] = cache.folder.iterdir()
    entry.unlink()
    entry.mkdir()
    assert weights_digest(pieces(settled), cache) == expected
    assert [place.name for place in cache.folder.iterdir()] == [entry.name]


@pytest.mark.usefixtures("later")
def test_many_processes_write_the_same(settled: Path, cache: DigestCache) -> None:
    layout, expected = pieces(settled), digest(settled)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: weights_digest(layout, cache), range(32))
    assert set(found) == {expected}
    [entry] = cache.folder.iterdir()
    assert entry.read_text() == f"{expected}\n"


@pytest.mark.usefixtures("later")
def test_the_cache_does_not_grow_without_end(cache: DigestCache) -> None:
    stamps = [FileStamp("a", "/a", size, 0, 0, 0, 0) for size in range(80)]
    for number, stamp in enumerate(stamps):
        cache.keep([stamp], f"{number:064x}")
    assert len(list(cache.folder.iterdir())) == 64
    assert cache.find([stamps[-1]]) == f"{79:064x}"
