"""``flashtalk generate`` as a user runs it: good files, every bad one, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from flashtalk.cli.main import main
from flashtalk.engine import Denoiser
from flashtalk.media import Mp4Writer
from tests.fakes.bad_inputs import Full, Gone, Hung, Stream
from tests.fakes.fork_server import begin
from tests.fakes.sound_files import encode, tone, wav
from tests.fakes.weights import micro_pipeline, write_own
from tests.patience import patient, wait_until

SUMMARY = re.compile(
    r"frames=(\d+) seconds=[\d.]+ fps=[\d.]+ real_time_factor=[\d.]+ first_frame_ms=\d+$"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(micro_pipeline(), tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a good portrait and 1.5 s of good sound."""
    folder = tmp_path / "files"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "face.png")
    wav(folder / "speech.wav", tone(1.5, 16_000)[0])
    return folder


def command(files: Path, weights: Path, **changes: object) -> list[str]:
    options = {
        "image": files / "face.png",
        "audio": files / "speech.wav",
        "out": files / "out.mp4",
        "weights": weights,
        "device": "cpu",
    } | changes
    pairs = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    return ["generate", *(word for pair in pairs for word in pair)]


def video_frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def check_lengths(path: Path) -> int:
    """Frames of a video whose sound is exactly as long."""
    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        assert audio.time_base is not None
        assert audio.duration is not None
        samples = audio.duration * audio.time_base * 16_000
    frames = len(video_frames(path))
    assert samples == frames * 640
    return frames


def test_a_portrait_talks(files: Path, weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(command(files, weights, seed=3)) == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert "trained on procedural faces only" in lines[0]
    assert (match := SUMMARY.search(lines[-1]))
    assert int(match[1]) == check_lengths(files / "out.mp4") == 38
    assert {found.name for found in files.iterdir()} == {"face.png", "speech.wav", "out.mp4"}
    frame = video_frames(files / "out.mp4")[0]
    assert (frame.height, frame.width) == (32, 32)


def test_the_same_command_gives_the_same_file(files: Path, weights: Path) -> None:
    made = []
    for seed in (1, 1, 2):
        assert main(command(files, weights, seed=seed)) == 0
        made.append([frame.to_ndarray(format="gray") for frame in video_frames(files / "out.mp4")])
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_size_steps_and_prompt_are_obeyed(files: Path, weights: Path) -> None:
    options = {"size": "48x32", "steps": 1, "prompt": "someone talks"}
    assert main(command(files, weights, **options)) == 0
    frame = video_frames(files / "out.mp4")[0]
    assert (frame.width, frame.height) == (48, 32)


@pytest.mark.parametrize(
    ("name", "codec", "pcm_hz", "channels"),
    [
        ("a.wav", "pcm_s16le", 8_000, 2),
        ("a.mp3", "libmp3lame", 44_100, 2),
        ("a.ogg", "libopus", 48_000, 1),
    ],
)
def test_sound_of_any_kind(
    files: Path, weights: Path, name: str, codec: str, pcm_hz: int, channels: int
) -> None:
    sound = encode(files / name, codec, tone(1.0, pcm_hz, channels=channels), pcm_hz)
    assert main(command(files, weights, audio=sound)) == 0
    assert 24 <= check_lengths(files / "out.mp4") <= 27


def test_rotated_and_transparent_portraits(files: Path, weights: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(files / "face.png")
    picture.save(files / "face.jpg", exif=exif)
    picture.convert("RGBA").save(files / "alpha.png")
    for name in ("face.jpg", "alpha.png"):
        assert main(command(files, weights, image=files / name)) == 0


def made_by(write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(files: Path) -> Path:
        path = files / "bad.wav"
        write(path)
        return path

    return make


def cut_in_half(path: Path) -> None:
    path.write_bytes(wav(path, tone(1, 16_000)[0]).read_bytes()[:9_000])


def not_finite(path: Path) -> None:
    pcm = tone(1, 16_000)[0]
    pcm[100] = np.nan
    wav(path, pcm, floats=True)


def small_picture(files: Path) -> Path:
    Image.new("RGB", (3, 1)).save(files / "bad.png")
    return files / "bad.png"


def cut_picture(files: Path) -> Path:
    data = (files / "face.png").read_bytes()
    (files / "bad.png").write_bytes(data[: len(data) // 2])
    return files / "bad.png"


def inside_a_file(files: Path) -> Path:
    return files / "face.png" / "out.mp4"


def weights_without(piece: str) -> Callable[[Path], Path]:
    def make(files: Path) -> Path:
        folder = write_own(micro_pipeline(), files / "weights")
        (folder / piece).unlink()
        return folder

    return make


def weights_with_a_broken(piece: str) -> Callable[[Path], Path]:
    def make(files: Path) -> Path:
        folder = write_own(micro_pipeline(), files / "weights")
        data = (folder / piece).read_bytes()
        (folder / piece).write_bytes(data[: len(data) // 2])
        return folder

    return make


BAD: dict[str, tuple[str, object, str]] = {
    "no audio": ("audio", lambda files: files / "none.wav", "no such file"),
    "audio is a folder": ("audio", lambda files: files, "not a file"),
    "empty audio": ("audio", made_by(lambda p: p.write_bytes(b"")), "empty"),
    "cut-off audio": ("audio", made_by(cut_in_half), "truncated"),
    "not audio": ("audio", made_by(lambda p: p.write_text("hello " * 99)), "not readable as audio"),
    "picture as audio": ("audio", lambda files: files / "face.png", "no audio"),
    "nan": ("audio", made_by(not_finite), "NaN"),
    "no image": ("image", lambda files: files / "none.png", "no such file"),
    "not an image": ("image", lambda files: files / "speech.wav", "not a picture"),
    "small image": ("image", small_picture, "at least 16"),
    "cut-off image": ("image", cut_picture, "truncated"),
    "no folder for out": ("out", lambda files: files / "none" / "out.mp4", "no such folder"),
    "out inside a file": ("out", inside_a_file, "no such folder"),
    "out is a folder": ("out", lambda files: files, "must end in .mp4"),
    "out of another kind": ("out", lambda files: files / "out.avi", "must end in .mp4"),
    "size in words": ("size", "large", "WIDTHxHEIGHT"),
    "size not divisible": ("size", "33x32", "multiple of 16"),
    "huge size": ("size", "99968x32", "at most"),
    "no steps": ("steps", 0, "1 .."),
    "steps in words": ("steps", "few", "invalid int"),
    "negative seed": ("seed", -1, "seed"),
    "huge seed": ("seed", 2**64, "seed"),
    "unknown preset": ("preset", "huge", "preset"),
    "unknown device": ("device", "abacus", "device"),
    "no weights": ("weights", lambda files: files / "none", "weights"),
    "14b without weights": ("preset", "flashtalk-14b", "missing"),
    "a piece of weights missing": ("weights", weights_without("vae/model.safetensors"), "vae"),
    "no settings": ("weights", weights_without("pipeline.json"), "pipeline.json"),
    "broken weights": ("weights", weights_with_a_broken("dit/model.safetensors"), "damaged"),
    "broken config": ("weights", weights_with_a_broken("dit/config.json"), "config.json"),
    "broken tokens": ("weights", weights_with_a_broken("umt5/tokenizer.json"), "tokenizer"),
}


def test_silence_is_noted_and_makes_a_video(
    files: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wav(files / "silent.wav", np.zeros(16_000, np.float32))
    assert main(command(files, weights, audio=files / "silent.wav")) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("note: audio: ")
    assert "silent" in line
    assert check_lengths(files / "out.mp4") == 25


def contents(files: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in files.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    files: Path, weights: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    option, value, reason = BAD[kind]
    chosen = value(files) if callable(value) else value
    folder = (files / "none") if kind == "14b without weights" else weights
    folder.mkdir(exist_ok=True)
    before = contents(files)
    words = command(files, **{"weights": folder, option: chosen})  # type: ignore[arg-type]
    try:
        code = main(words)
    except SystemExit as stopped:  # argparse ends the process by itself
        code = int(str(stopped.code))
    err = capfd.readouterr().err
    assert code == 2
    assert len(err.splitlines()) == 1
    assert reason in err
    assert contents(files) == before


def test_the_output_never_replaces_an_input(
    files: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sound = encode(files / "in.mp4", "aac", tone(1.0, 48_000), 48_000)
    data = sound.read_bytes()
    assert main(command(files, weights, audio=sound, out=sound)) == 2
    assert "must not be the audio file itself" in capfd.readouterr().err
    assert sound.read_bytes() == data


def test_a_failure_in_the_middle_leaves_nothing(
    files: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    whole = Mp4Writer.write
    calls = []

    def fails_later(self: Mp4Writer, *args: object) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise MemoryError
        whole(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Mp4Writer, "write", fails_later)
    before = contents(files)
    assert main(command(files, weights)) == 2
    assert "out of memory" in capfd.readouterr().err
    assert contents(files) == before


def test_a_device_without_room_is_one_line_and_leaves_nothing(
    files: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("several\nlines")

    monkeypatch.setattr(Denoiser, "denoise", too_large)
    before = contents(files)
    assert main(command(files, weights)) == 2
    assert capfd.readouterr().err.splitlines() == [
        "flashtalk: device: cpu: out of memory; `flashtalk doctor` shows which preset fits on "
        "which device"
    ]
    assert contents(files) == before


def test_bad_files_are_told_before_torch_is_imported(files: Path) -> None:
    program = (
        "import sys\n"
        "from flashtalk.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "sys.exit(99 if 'torch' in sys.modules else code)\n"
    )
    words = command(files, files, image=files / "none.png")
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, check=False)
    assert done.returncode == 2, done.stderr


@pytest.mark.timeout(300)
def test_ctrl_c_leaves_a_playable_file(files: Path, weights: Path) -> None:
    wav(files / "long.wav", tone(900, 16_000)[0])
    words = command(files, weights, audio=files / "long.wav", size="128x128", steps=1)
    log = files / "said"
    process = begin("flashtalk.cli", words, log, os.environ)  # noqa: TID251 - what a shell would hand on
    try:

        def well_under_way() -> bool:
            parts = files.glob(".*.partial.mp4")
            return process.exitcode is not None or any(p.stat().st_size > 20_000 for p in parts)

        wait_until(well_under_way, 100, "the first chunks were not written")
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        process.join(patient(120))
    finally:
        process.kill()
    said = log.read_text()
    assert process.exitcode == 130, said
    assert said.splitlines()[-1].startswith("stopped"), said
    assert "Traceback" not in said
    assert check_lengths(files / "out.mp4") >= 28
    assert not list(files.glob(".*"))


def test_help_is_there_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["generate", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 0
    assert "--image" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_to_end_keeps_what_was_made(
    files: Path,
    weights: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    whole = Mp4Writer.write

    def ends_after_one(self: Mp4Writer, *args: object) -> None:
        whole(self, *args)  # type: ignore[arg-type]
        signal.raise_signal(number)

    monkeypatch.setattr(Mp4Writer, "write", ends_after_one)
    assert main(command(files, weights)) == 130
    assert "stopped" in capfd.readouterr().out.splitlines()[-1]
    assert check_lengths(files / "out.mp4") == 28
    assert not list(files.glob(".*"))


@pytest.mark.parametrize("error", [Gone, Full, Hung, None])
def test_nobody_has_to_read_along(
    files: Path, weights: Path, error: type[OSError] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None if error is None else Stream(error))
    assert main(command(files, weights)) == 0
    assert check_lengths(files / "out.mp4") == 38
