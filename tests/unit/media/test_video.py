"""MP4 out: decoded again, frame n shows the samples [640 n, 640 n + 640), and no file is half."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from flashtalk.errors import InputError
from flashtalk.media import Mp4Writer, room
from flashtalk.media.h264 import ChunkEncoder
from flashtalk.media.room import DiskFullError
from tests.patience import patient

FPS, PCM_HZ, SAMPLES = 25, 16_000, 640


def grey_frames(levels: list[int], size_hw: tuple[int, int] = (32, 48)) -> npt.NDArray[np.uint8]:
    return np.stack([np.full((*size_hw, 3), level, np.uint8) for level in levels])


def writer(path: Path, size_hw: tuple[int, int] = (32, 48)) -> Mp4Writer:
    return Mp4Writer(path, fps=FPS, size_hw=size_hw, pcm_hz=PCM_HZ)


def decoded(path: Path) -> tuple[list[av.VideoFrame], npt.NDArray[np.float32]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return frames, np.concatenate(parts)


def write_then_raise(path: Path, error: type[BaseException]) -> None:
    with writer(path) as out:
        out.write(grey_frames([1] * 3), np.zeros(3 * SAMPLES, np.float32))
        raise error


@pytest.mark.parametrize("count", [1, 2, 29, 100])
def test_pictures_and_sound_have_the_same_length_to_the_sample(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, count * SAMPLES).astype(np.float32)
    with writer(path) as out:
        out.write(grey_frames([100] * count), noise)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.frames == count
        assert (video.start_time, audio.start_time) == (0, 0)
        assert audio.time_base is not None
        assert video.time_base is not None
        assert video.duration is not None
        assert audio.duration is not None
        assert audio.duration * audio.time_base * PCM_HZ == count * SAMPLES
        assert video.duration * video.time_base * FPS == count
        assert container.duration == count * 1_000_000 // FPS
    frames, pcm = decoded(path)
    assert len(frames) == count
    # What a packet decoder finds behind the stated end is the padding of the last AAC frame.
    assert count * SAMPLES <= len(pcm) < count * SAMPLES + 1_024 + SAMPLES


def test_each_frame_shows_its_own_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    count = 60
    loud = [index for index in range(count) if index % 7 == 3]
    pcm = np.zeros(count * SAMPLES, np.float32)
    for index in loud:
        pcm[index * SAMPLES + 100] = 0.9
    levels = [220 if index in loud else 40 for index in range(count)]
    with writer(path) as out:
        # In parts of any size, as chunks come.
        for start, end in ((0, 28), (28, 29), (29, 60)):
            out.write(grey_frames(levels[start:end]), pcm[start * SAMPLES : end * SAMPLES])
    frames, heard = decoded(path)
    assert [frame.time for frame in frames] == pytest.approx([n / FPS for n in range(count)])
    bright = [n for n, frame in enumerate(frames) if frame.to_ndarray(format="gray").mean() > 128]
    assert bright == loud
    for index in loud:
        part = heard[index * SAMPLES : (index + 1) * SAMPLES]
        assert abs(int(np.abs(part).argmax()) - 100) <= 1


def test_colours_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    colours = [(200, 40, 40), (40, 180, 60), (30, 60, 210), (128, 128, 128)]
    wall = np.concatenate([np.full((1, 32, 16, 3), c, np.uint8) for c in colours], axis=2)
    with writer(path, (32, 64)) as out:
        out.write(np.repeat(wall, 5, axis=0), np.zeros(5 * SAMPLES, np.float32))
    frames, _ = decoded(path)
    for found in (frames[0], frames[-1]):
        difference = found.to_ndarray(format="rgb24").astype(int) - wall[0]
        assert np.abs(difference[8:24, 4:12]).max() < 12
        assert np.abs(difference).mean() < 6


def test_a_finished_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with writer(path) as out:
        out.write(grey_frames([1]), np.zeros(SAMPLES, np.float32))
        assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["a.mp4"]
    assert len(decoded(path)[0]) == 1
    out.close()
    with pytest.raises(InputError, match="already finished"):
        out.write(grey_frames([1]), np.zeros(SAMPLES, np.float32))


def test_an_interrupt_keeps_what_was_made(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt):
        write_then_raise(path, KeyboardInterrupt)
    assert len(decoded(path)[0]) == 3
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_without_a_frame_nothing_is_left(tmp_path: Path, error: type[BaseException] | None) -> None:
    path = tmp_path / "a.mp4"
    if error is None:
        with writer(path):
            pass
    else:
        with pytest.raises(error), writer(path):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_nothing_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        write_then_raise(path, RuntimeError)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_places_that_cannot_be_written_to_are_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_bytes(b"")
    bad = {
        tmp_path / "folder.mp4": "not a file",
        tmp_path / "missing" / "a.mp4": "no such folder",
        tmp_path / "file" / "a.mp4": "no such folder",
        tmp_path / "a.avi": "must end in .mp4",
        tmp_path / "a": "must end in .mp4",
        tmp_path / ("a" * 300 + ".mp4"): "not writable",
    }
    for path, reason in bad.items():
        with pytest.raises(InputError, match=reason) as raised:
            writer(path)
        assert raised.value.field == "out"
    assert {found.name for found in tmp_path.iterdir()} == {"folder.mp4", "file"}


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for size_hw in ((31, 48), (32, 47), (0, 0)):
        with pytest.raises(InputError, match="even"):
            writer(tmp_path / "a.mp4", size_hw)
    with writer(tmp_path / "a.mp4") as out:
        with pytest.raises(InputError, match="frames"):
            out.write(grey_frames([1], (16, 16)), np.zeros(SAMPLES, np.float32))
        with pytest.raises(InputError, match="pcm"):
            out.write(grey_frames([1]), np.zeros(SAMPLES - 1, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_an_input_error_and_leaves_nothing(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow past 100 kB."""
    program = f"""
import resource, signal
import numpy as np
from flashtalk.errors import InputError
from flashtalk.media import Mp4Writer, room
from flashtalk.media.h264 import ChunkEncoder
from flashtalk.media.room import DiskFullError
from tests.patience import patient

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rng = np.random.default_rng(0)
try:
    with Mp4Writer({str(tmp_path / "a.mp4")!r}, fps=25, size_hw=(128, 128), pcm_hz=16_000) as out:
        for _ in range(200):
            frames = rng.integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
            out.write(frames, np.zeros(4 * 640, np.float32))
except InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=patient(100),
    )
    assert "not writable" in done.stdout
    assert list(tmp_path.iterdir()) == []


def write_frames(path: Path, count: int, *, encoded: bool) -> None:
    pictures, coder = grey_frames([9] * count), ChunkEncoder(size_hw=(32, 48), fps=FPS)
    with Mp4Writer(path, fps=FPS, size_hw=(32, 48), pcm_hz=PCM_HZ, encoded=encoded) as out:
        if not encoded:
            out.write(pictures, np.zeros(count * SAMPLES, np.float32))
            return
        for index, picture in enumerate(pictures):
            unit = coder.encode(picture)
            out.write_encoded(unit, np.zeros(SAMPLES, np.float32), key_frame=index == 0)


def disk_with(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is as good as full once it was asked for so many frames."""
    asked = iter(range(1_000_000))
    monkeypatch.setattr(room, "free_bytes", lambda _: 10**9 if next(asked) < frames else 2**18)


@pytest.mark.parametrize("encoded", [False, True])
def test_a_full_disk_ends_the_video_before_its_index_has_no_place(
    encoded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_with(30, monkeypatch)
    path = tmp_path / "a.mp4"
    with pytest.raises(DiskFullError, match="the disk is full; the video ends after 30 frames"):
        write_frames(path, 40, encoded=encoded)
    frames, _ = decoded(path)
    assert len(frames) == 30
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_disk_that_was_full_before_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_with(0, monkeypatch)
    with pytest.raises(InputError, match="not writable"), writer(tmp_path / "a.mp4") as out:
        out.write(grey_frames([9]), np.zeros(SAMPLES, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_free_room_is_that_of_the_folder(tmp_path: Path) -> None:
    free = room.free_bytes(tmp_path)
    assert free is not None
    assert free > 0
    assert room.free_bytes(tmp_path / "none") is None
    assert room.free_bytes(Path("/proc")) is None
