"""``flashtalk talk`` between pipes, files and signals, as a shell starts it."""

from __future__ import annotations

import array
import fcntl
import io
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.fakes.echo_gateway import Heard, echo_gateway
from tests.fakes.sound_files import encode, tone, wav
from tests.patience import patient, wait_until

FRAMES = 25
PCM = (20_000 * tone(1.0, 16_000)[0]).astype("<i2")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Heard]:
    with echo_gateway() as heard:
        yield heard


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a portrait and a second of speech, as a file and as samples."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    wav(tmp_path / "speech.wav", tone(1.0, 16_000)[0])
    (tmp_path / "speech.raw").write_bytes(PCM.tobytes())
    return tmp_path


def talk(**changes: str) -> str:
    """A command line for a shell; {gateway} is still to be put in."""
    given = {"image": "face.png", "audio": "speech.wav", "out": "out.mp4"} | changes
    options = " ".join(f"--{name} {value}" for name, value in given.items())
    return f"{sys.executable} -m flashtalk.cli talk --gateway $GATEWAY {options}"


def shell(command: str, files: Path, gateway: Heard, **environment: str) -> Any:
    """Runs a line of bash; standard input is empty unless the line says otherwise."""
    variables = {**os.environ, "GATEWAY": gateway.target, **environment}  # noqa: TID251
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=files,
        env=variables,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=patient(120),
    )


def frames_of(video: Path | bytes) -> int:
    source: Any = io.BytesIO(video) if isinstance(video, bytes) else str(video)
    with av.open(source) as container:
        return sum(1 for _ in container.decode(video=0))


def left(files: Path) -> set[str]:
    return {path.name for path in files.iterdir()} - {"face.png", "speech.wav", "speech.raw"}


@pytest.mark.parametrize(
    ("redirection", "says"),
    [
        ("</dev/null", "standard input: contains no audio"),
        ("<&-", "-: standard input is closed"),
        ("< <(true)", "standard input: contains no audio"),
        ("< <(printf x)", "standard input: contains no audio"),
    ],
)
def test_no_speech_is_one_line_and_no_session(
    redirection: str, says: str, files: Path, gateway: Heard
) -> None:
    sessions = len(gateway.portraits)
    done = shell(f"{talk(audio='-')} {redirection}", files, gateway)
    assert done.returncode == 2
    assert done.stderr.decode() == f"flashtalk: audio: {says}\n"
    assert len(gateway.portraits) == sessions
    assert left(files) == set()


@pytest.mark.parametrize("number", [0, 1])
def test_a_terminal_is_no_pipe(number: int, files: Path, gateway: Heard) -> None:
    ours, theirs = pty.openpty()
    words = talk(**({"audio": "-"} if number == 0 else {"out": "-"}))
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    streams["stdin" if number == 0 else "stdout"] = theirs
    done = subprocess.run(
        words.replace("$GATEWAY", gateway.target).split(),
        cwd=files,
        stderr=subprocess.PIPE,
        check=False,
        **streams,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert "is a terminal" in line
    assert left(files) == set()


def test_half_a_sample_is_left_out_and_noted(files: Path, gateway: Heard) -> None:
    done = shell(f"(cat speech.raw; printf x) | {talk(audio='-')}", files, gateway)
    assert done.returncode == 0
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("note: audio: standard input: ends within a sample")
    np.testing.assert_array_equal(gateway.pcm, PCM / np.float32(32_768))
    assert frames_of(files / "out.mp4") == FRAMES


@pytest.mark.parametrize(
    ("name", "codec", "pcm_hz", "channels"),
    [
        ("a.wav", "pcm_s16le", 44_100, 2),
        ("a.mp3", "libmp3lame", 44_100, 1),
        ("a.ogg", "libopus", 48_000, 2),
        ("a.flac", "flac", 22_050, 1),
    ],
)
def test_a_container_in_the_pipe_is_decoded_at_its_own_rate(
    name: str, codec: str, pcm_hz: int, channels: int, files: Path, gateway: Heard
) -> None:
    encode(files / name, codec, tone(1.0, pcm_hz, channels=channels), pcm_hz)
    done = shell(f"cat {name} | {talk(audio='-')}", files, gateway)
    assert done.returncode == 0, done.stderr
    # Coders of perceived sound add up to a tenth of a second.
    assert len(gateway.pcm) == pytest.approx(16_000, abs=1_900)
    spectrum = np.abs(np.fft.rfft(gateway.pcm[2_000:14_000]))
    expected = np.abs(np.fft.rfft(tone(1.0, 16_000)[0][2_000:14_000]))
    assert abs(int(spectrum.argmax()) - int(expected.argmax())) <= 2


def test_named_pipes_and_process_substitutions_are_heard(files: Path, gateway: Heard) -> None:
    for audio in ("<(cat speech.raw)", "<(cat speech.wav)"):
        done = shell(talk(audio=audio), files, gateway)
        assert done.returncode == 0, done.stderr
        assert len(gateway.pcm) == 16_000
    done = shell(f"mkfifo fifo; cat speech.raw > fifo & {talk(audio='fifo')}", files, gateway)
    assert done.returncode == 0, done.stderr
    assert len(gateway.pcm) == 16_000


def test_standard_output_is_the_video_and_nothing_else(files: Path, gateway: Heard) -> None:
    done = shell(talk(out="-"), files, gateway)
    assert done.returncode == 0
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"-: frames={FRAMES} ")
    assert done.stdout[0] == 0x47  # a packet of a transport stream
    assert frames_of(done.stdout) == FRAMES


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [
        ("| head -c 5000 | wc -c", 141, ""),
        ("| true", 141, ""),
        (">/dev/full", 2, "flashtalk: out: -: not writable (No space left on device)\n"),
        (">&-", 2, "flashtalk: out: -: standard output is closed\n"),
    ],
)
def test_a_reader_that_goes_away_is_quiet_and_a_full_disk_one_line(
    end: str, code: int, says: str, files: Path, gateway: Heard
) -> None:
    done = shell(f"{talk(out='-')} {end}", files, gateway)
    assert done.returncode == code
    assert done.stderr.decode() == says


@pytest.mark.parametrize(
    "end", ["| true", ">/dev/full", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>&1"]
)
def test_a_file_is_finished_whoever_reads_along(end: str, files: Path, gateway: Heard) -> None:
    done = shell(f"{talk()} {end}", files, gateway)
    assert done.returncode == 0
    assert frames_of(files / "out.mp4") == FRAMES
    assert left(files) == {"out.mp4"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_playable_file(
    number: signal.Signals, files: Path, gateway: Heard
) -> None:
    gateway.connected.clear()
    words = talk(audio="-").replace("$GATEWAY", gateway.target).split()
    process = subprocess.Popen(
        words,
        cwd=files,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    try:
        # So much that some of the video has left FFmpeg's buffer.
        process.stdin.write(40 * PCM.tobytes())
        process.stdin.flush()
        assert gateway.connected.wait(patient(60))
        wait_until(lambda: any(p.stat().st_size > 1_000 for p in files.glob(".*.partial.mp4")))
        process.send_signal(number)
        out, err = process.communicate(timeout=patient(60))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err
    assert err == b""
    assert out.startswith(b"stopped: out.mp4 contains the frames so far")
    assert 0 < frames_of(files / "out.mp4") <= 40 * FRAMES
    assert left(files) == {"out.mp4"}


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_names_that_cannot_be_printed_are_no_obstacle(
    environment: dict[str, str], files: Path, gateway: Heard
) -> None:
    done = shell(talk(out="$'\\xff-\\xe2\\x98\\x83.mp4'"), files, gateway, **environment)
    assert done.returncode == 0, done.stderr
    assert b"frames=25" in done.stdout
    assert frames_of(next(files.glob("*.mp4")).read_bytes()) == FRAMES


@pytest.mark.parametrize("name", ["a.bmp", "a.tiff", "a.gif", "a.avif", "large.png", "many.jpg"])
def test_every_picture_that_generate_takes_is_sent(name: str, files: Path, gateway: Heard) -> None:
    noise = np.random.default_rng(0)
    if name == "large.png":  # above 8 MiB
        picture = Image.fromarray(noise.integers(0, 256, (1_800, 1_800, 3), dtype=np.uint8))
    elif name == "many.jpg":  # 48 million pixels
        picture = Image.new("RGB", (8_000, 6_000), (200, 150, 120))
    else:
        picture = Image.open(files / "face.png")
    picture.save(files / name)
    done = shell(talk(image=name), files, gateway)
    assert done.returncode == 0, done.stderr
    width, height = gateway.portraits[-1]
    assert width / height == pytest.approx(picture.width / picture.height, rel=0.01)


def test_a_picture_that_is_none_is_named(files: Path, gateway: Heard) -> None:
    done = shell(talk(image="speech.wav"), files, gateway)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("flashtalk: image: speech.wav: ")


def test_a_player_that_stops_reading_holds_nothing_up(files: Path, gateway: Heard) -> None:
    """A video waits for its player; a signal still ends the program, and it loses no byte."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    words = talk(audio="-", out="-").replace("$GATEWAY", gateway.target).split()
    process = subprocess.Popen(
        words, cwd=files, stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert process.stdin is not None
    try:
        process.stdin.write(40 * PCM.tobytes())
        process.stdin.flush()
        wait_until(lambda: unread(reading) > 0)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=patient(60))
    finally:
        process.kill()
        process.wait()
        os.close(reading)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1].startswith("stopped: ")


def unread(number: int) -> int:
    """Bytes that wait in a pipe."""
    room = array.array("i", [0])
    fcntl.ioctl(number, termios.FIONREAD, room)
    return room[0]


def test_a_video_through_a_slow_pipe_is_whole(files: Path, gateway: Heard) -> None:
    reader = "import os; [os.write(1, data) for data in iter(lambda: os.read(0, 100), b'')]"
    done = shell(f'{talk(out="-")} | {sys.executable} -c "{reader}"', files, gateway)
    assert done.returncode == 0
    assert frames_of(done.stdout) == FRAMES
