"""From files that programs write, through the commands, to batches of a real model's latents."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from flashtalk.arrays import Rgb
from flashtalk.engine.sampling import Sampling
from flashtalk.errors import InputError
from flashtalk.streaming.spec import StreamSpec
from tests.unit.training.recorded_videos import clicks, hum, number_of, numbered, write_video
from training.core.config import TrainerConfig
from training.core.sharding import ShardPlan
from training.core.world import World
from training.data.buckets import BucketPlan
from training.data.cache import VideoPlan, build_video_caches
from training.data.sampler import ClipOdds, Stage1Sampler, Stage2Sampler
from training.data.scan import scan
from training.data.source.recorded import VideoFolder
from training.data.units import ClipPlan, StretchPlan
from training.data.videos.index import ScanConfig
from training.data.videos.manifest import Entry, write_manifest
from training.models import Models
from training.places import Places
from training.tasks.samples import SampleConfig
from training.tasks.stage1 import Stage1Recipe
from training.tasks.stage2_setup import Stage2Setup, Stage2SetupConfig

SPEC = StreamSpec()


def steady(fps: float, seconds: float) -> list[float]:
    return [number / fps for number in range(round(fps * seconds))]


# Container, picture and sound codecs that are met in the wild.
KINDS = [
    ("mp4", "libx264", "aac", 44_100),
    ("mp4", "mpeg4", "mp3", 44_100),
    ("mov", "libx264", "pcm_s16le", 48_000),
    ("webm", "libvpx-vp9", "libopus", 48_000),
    ("mkv", "libx265", "flac", 48_000),
    ("ts", "libx264", "aac", 48_000),
    ("avi", "mpeg4", "mp3", 44_100),
]


@pytest.mark.parametrize(("suffix", "codec", "audio_codec", "hz"), KINDS)
def test_containers_and_codecs_keep_pictures_and_sound_in_step(
    suffix: str, codec: str, audio_codec: str, hz: int, tmp_path: Path
) -> None:
    """MPEG-TS begins its clock at 1.4 s, AVI counts places, MP3 and Opus begin with priming."""
    path = tmp_path / f"v.{suffix}"
    _write(path, codec, audio_codec, hz)
    manifest = tmp_path / "m.jsonl"
    write_manifest(manifest, [Entry(path.name)])
    (result,) = scan(manifest, ScanConfig(smallest_px=32))
    source = VideoFolder(manifest)
    facts = source.facts(0)
    assert facts.frames == pytest.approx(100, abs=2), result
    for first in (0, 31, 66):
        shown = [number_of(picture) for picture in source.frames(0, first, 20, (64, 96))]
        late = np.asarray(shown) - np.arange(first, first + 20)
        # This AVI leaves out the place of its second picture; all others are exact.
        assert np.abs(late).max() <= (1 if suffix == "avi" else 0)
    loud = np.abs(source.pcm(0, 0, 95).reshape(95, 640)).max(1) > 0.15
    # Clicks with pictures 30 and 70.
    assert {int(frame) for frame in np.flatnonzero(loud)} <= {29, 30, 31, 69, 70, 71}
    assert loud[[29, 30, 31]].any()
    assert loud[[69, 70, 71]].any()


def _write(path: Path, codec: str, audio_codec: str, hz: int) -> None:
    pcm = clicks([1.2, 2.8], 4.0, hz)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        assert isinstance(video, VideoStream)
        video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
        video.bit_rate = 2_000_000
        sound = container.add_stream(audio_codec, rate=hz, layout="mono")
        assert isinstance(sound, AudioStream)
        packets = []
        for number in range(100):
            picture = VideoFrame.from_ndarray(numbered(number, (64, 96)), format="rgb24")
            picture.pts = number
            packets += video.encode(picture)
        packets += video.encode(None)
        size = sound.codec_context.frame_size or 1024
        kind = sound.codec_context.format.name
        for first in range(0, len(pcm), size):
            piece = AudioFrame.from_ndarray(pcm[None, first : first + size], "fltp", "mono")
            piece.sample_rate, piece.pts = hz, first
            for converted in av.AudioResampler(kind, "mono", hz).resample(piece):
                packets += sound.encode(converted)
        packets += sound.encode(None)
        container.mux(sorted(packets, key=lambda p: float((p.dts or 0) * (p.time_base or 0))))


def test_colours_survive(tmp_path: Path) -> None:
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128)]

    def picture(number: int, size_hw: tuple[int, int]) -> Rgb:
        return np.full((*size_hw, 3), colours[number % 4], np.uint8)

    write_video(tmp_path / "v.mp4", steady(5, 6), hum(6), picture=picture)
    manifest = tmp_path / "m.jsonl"
    write_manifest(manifest, [Entry("v.mp4")])
    scan(manifest, ScanConfig(smallest_px=32))
    source = VideoFolder(manifest)
    for number, colour in enumerate(colours):
        shown = source.frames(0, 5 * number, 1, (48, 80))[0].mean((0, 1))
        assert np.abs(shown - colour).max() < 6


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of videos in two shapes, one of them unusable, with captions."""
    folder = tmp_path / "data" / "clips"
    folder.mkdir(parents=True)
    for number in range(3):
        write_video(folder / f"wide{number}.mp4", steady(30, 6), hum(6), size_hw=(72, 128))
        write_video(folder / f"tall{number}.mp4", steady(24, 6), hum(6), size_hw=(128, 72))
        (folder / f"wide{number}.txt").write_text(f"Wide {number}.")
    (folder / "broken.mp4").write_text("this is no video")
    return folder


def run(*arguments: object) -> str:
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_recorded_videos_do_not_know_is_not_asked_of_them(clips: Path, tmp_path: Path) -> None:
    data = clips.parent
    for split in ("train", "val"):
        write_manifest(data / f"{split}.jsonl", [Entry("clips/wide0.mp4")])
        scan(data / f"{split}.jsonl", ScanConfig(smallest_px=64))
    places, world = Places(tmp_path, data, tmp_path, tmp_path), World.alone()
    recipe = Stage1Recipe(TrainerConfig())
    for field, asking in (
        ("mouth_weight", replace(recipe, mouth_weight=4.0)),
        ("samples", replace(recipe, samples=SampleConfig())),
    ):
        with pytest.raises(InputError, match=field):
            asking.task(places, world)
    config = Stage2SetupConfig(measured="truth")
    with pytest.raises(InputError, match="measured"):
        Stage2Setup(config, places, world, ShardPlan(), 2, Sampling())


@pytest.mark.weights
def test_a_folder_becomes_batches_of_latents(clips: Path, repo_root: Path) -> None:
    data = clips.parent
    manifest = data / "train.jsonl"
    run("training.data.convert", "folder", clips, "--out", manifest)
    shown = run("training.data.scan", manifest, "--smallest-px", "64", "--workers", "2")
    assert "6 of 7 usable" in shown
    source = VideoFolder(manifest)
    models = Models.open("tiny", repo_root / "weights" / "tiny", World.alone(), ShardPlan())
    encoders, cache_dir = models.frozen().encoders(), data / "cache"
    buckets = BucketPlan(area_px=64 * 64, tolerance=0.13, always=())
    plan = VideoPlan(ClipPlan(spread=2), buckets=buckets)
    caches = build_video_caches(source, encoders, plan, cache_dir, SPEC)
    assert len(caches) == 2
    captions = [source.facts(index).caption for index in range(len(source))]
    sampler = Stage1Sampler(caches, ClipOdds("rounds"), SPEC, batch=2)
    rng = np.random.default_rng(0)
    shapes = set()
    for step in range(6):
        picks = sampler.pick(step, rng)
        batch = sampler.batch(picks)
        height, width = caches[picks.bucket].size_hw
        assert batch.z_BCFHW.shape == (2, 16, 9, height // 8, width // 8)
        assert torch.isfinite(batch.z_BCFHW).all()
        assert batch.z_BCFHW.std() > 0.05
        wide = [captions[int(video)].startswith("Wide") for video in batch.video_B]
        assert all(flag == (width > height) for flag in wide)
        shapes.add((height, width))
    assert len(shapes) == 2
    plan = replace(plan, stretches=StretchPlan(chunks=2, spread=1))
    caches = build_video_caches(source, encoders, plan, cache_dir, SPEC)
    rollout = Stage2Sampler(caches, SPEC, batch=2).draw(0, 2, rng, beginning=False)
    assert rollout.motion_BCMHW.shape[1:3] == (16, 2)
    assert rollout.speech_BKTWLD.shape[:3] == (2, 2, 33)
