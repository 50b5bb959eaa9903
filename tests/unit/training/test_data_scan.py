"""Scanning a manifest: what is usable, what is left out and why, and going on after a stop."""

import json
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest

from flashtalk.arrays import Rgb
from flashtalk.errors import InputError
from tests.unit.training.recorded_videos import hum, number_of, numbered, write_video
from tests.unit.training.tiny_split import render_split
from training.data import scan as scan_module
from training.data.scan import left_out_path, main, scan
from training.data.source.recorded import VideoFolder
from training.data.source.synthtalk import SynthTalkSource
from training.data.source.video import KnowsMouths, VideoSource, quiet_by_loudness
from training.data.synthtalk import mouth_box
from training.data.units import Shot, held_frames, shots_of
from training.data.videos.check import check_entry
from training.data.videos.index import LeftOut, Result, ScanConfig, Scanned, index_path
from training.data.videos.manifest import Entry, write_manifest
from training.data.videos.problems import BadVideoError, SkipList

SMALL = ScanConfig(smallest_px=32)


def steady(fps: float, seconds: float) -> list[float]:
    return [number / fps for number in range(round(fps * seconds))]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """One good video, and one for every reason to leave one out."""
    write_video(tmp_path / "good.mp4", steady(30, 6), hum(6))
    write_video(tmp_path / "short.mp4", steady(25, 2), hum(2))
    write_video(tmp_path / "mute.mp4", steady(25, 4))
    write_video(tmp_path / "silent.mp4", steady(25, 4), 0 * hum(4))
    write_video(tmp_path / "half.mkv", steady(25, 6), hum(2))
    write_video(tmp_path / "small.mp4", steady(25, 4), hum(4), size_hw=(16, 80))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((tmp_path / "good.mp4").read_bytes()[:4000])
    (tmp_path / "text.mp4").write_text("no video")
    return tmp_path


ENTRIES = [
    Entry("good.mp4", caption="a face"),
    Entry("short.mp4"),
    Entry("mute.mp4"),
    Entry("silent.mp4"),
    Entry("half.mkv"),
    Entry("small.mp4"),
    Entry("cut.mp4"),
    Entry("text.mp4"),
    Entry("none.mp4"),
    Entry("good.mp4", start_s=1.0, end_s=5.0, box=(0.5, 0.0, 1.0, 1.0)),
    Entry("good.mp4", start_s=20.0, end_s=25.0),
    Entry("good.mp4", end_s=9.0),
    Entry("good.mp4", shots_s=((0.0, 1.0), (1.0, 2.0))),
    Entry("good.mp4", shots_s=((0.0, 2.0), (2.0, 5.5))),
]
EXPECTED = [
    "usable",
    "too short",
    "no sound",
    "silent",
    "no sound",
    "too small",
    "corrupt",
    "corrupt",
    "missing",
    "usable",
    "outside",
    "outside",
    "too short",
    "usable",
]


def said(results: list[Result]) -> list[str]:
    return [r.reason if isinstance(r, LeftOut) else "usable" for r in results]


def test_every_video_gets_its_verdict(videos: Path) -> None:
    manifest = videos / "m.jsonl"
    write_manifest(manifest, ENTRIES)
    results = scan(manifest, SMALL)
    assert said(results) == EXPECTED
    listed = left_out_path(manifest).read_text().splitlines()
    assert listed[0] == "key\treason\tdetail"
    assert [line.split("\t")[1] for line in listed[1:]] == [e for e in EXPECTED if e != "usable"]
    assert said(scan(manifest, SMALL, workers=3)) == EXPECTED
    source = VideoFolder(manifest)
    assert len(source) == 3
    assert source.left_out["outside"] == 2
    whole, part, two = (source.facts(index) for index in range(3))
    assert (whole.frames, whole.size_hw, whole.caption) == (150, (48, 80), "a face")
    assert whole.shots == ((0, 150),)
    assert (part.frames, part.size_hw) == (100, (48, 40))
    # The first shot is too short for training, the second loses its first frame to the cut.
    assert two.shots == ((0, 49), (51, 136))
    assert shots_of(source, 66) == [Shot(0, 0, 150), Shot(1, 0, 100), Shot(2, 51, 85)]


def test_numbers_of_pictures_are_shots_too(videos: Path) -> None:
    entry = Entry("good.mp4", shot_frames=((0, 90), (90, 180)))
    result = check_entry(entry, videos, SMALL)
    assert isinstance(result, Scanned)
    assert result.shots == ((0, 74), (76, 150))


def test_a_source_shows_what_the_file_does(videos: Path) -> None:
    manifest = videos / "m.jsonl"
    write_manifest(manifest, ENTRIES)
    scan(manifest, SMALL)
    source: VideoSource = VideoFolder(manifest)
    shown = source.frames(1, 10, 5, (48, 40))
    # From 1.4 s on, the right half: the five high bits of the numbers.
    whole = source.frames(0, 35, 5, (48, 80))
    assert [number_of(picture) for picture in whole] == [42, 43, 44, 46, 47]
    assert np.abs(shown.astype(int) - whole[:, :, 40:]).mean() < 3
    assert source.pcm(1, 10, 5).shape == (5 * 640,)
    assert np.array_equal(source.pcm(1, 10, 5), source.pcm(0, 35, 5))
    # Covering: a square of a wide picture is its middle.
    square = source.frames(0, 35, 1, (32, 32))
    assert square.shape == (1, 32, 32, 3)
    with pytest.raises(InputError, match="must be within 0"):
        source.frames(0, 140, 20, (48, 80))
    with pytest.raises(InputError, match="must be within 0"):
        source.pcm(0, -1, 20)


def test_a_killed_scan_goes_on(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = videos / "m.jsonl"
    write_manifest(manifest, ENTRIES)
    checked: list[str] = []

    def dying(entry: Entry, folder: Path, config: ScanConfig) -> Result:
        if len(checked) == 9:
            raise KeyboardInterrupt
        checked.append(entry.key)
        return check_entry(entry, folder, config)

    monkeypatch.setattr(scan_module, "check_entry", dying)
    with pytest.raises(KeyboardInterrupt):
        scan(manifest, SMALL)
    assert not index_path(manifest).exists()
    with pytest.raises(InputError, match=r"training\.data\.scan"):
        VideoFolder(manifest)
    partial = index_path(manifest).with_name("m.jsonl.index.partial")
    known = len(partial.read_text().splitlines()) - 1
    assert 8 <= known <= 9
    with partial.open("a") as lines:
        lines.write('{"key": "cut sho')
    checked.clear()

    def counting(entry: Entry, folder: Path, config: ScanConfig) -> Result:
        checked.append(entry.key)
        return check_entry(entry, folder, config)

    monkeypatch.setattr(scan_module, "check_entry", counting)
    assert said(scan(manifest, SMALL)) == EXPECTED
    assert len(checked) == len(ENTRIES) - known
    scan(manifest, SMALL)
    assert len(checked) == len(ENTRIES) - known


def test_another_manifest_or_other_limits_are_scanned_anew(videos: Path) -> None:
    manifest = videos / "m.jsonl"
    write_manifest(manifest, ENTRIES[:1])
    scan(manifest, SMALL)
    before = VideoFolder(manifest).digest
    assert said(scan(manifest, ScanConfig(smallest_px=100))) == ["too small"]
    with pytest.raises(InputError, match="no usable video"):
        VideoFolder(manifest)
    write_manifest(manifest, [Entry("good.mp4", caption="another")])
    with pytest.raises(InputError, match="has changed"):
        VideoFolder(manifest)
    scan(manifest, SMALL)
    assert VideoFolder(manifest).digest != before
    write_video(videos / "good.mp4", steady(30, 6), hum(6, pitch_hz=330.0))
    write_manifest(manifest, ENTRIES[:1])
    scan(manifest, SMALL)
    assert VideoFolder(manifest).digest != before


def test_an_index_with_a_damaged_line_is_named(videos: Path) -> None:
    manifest = videos / "m.jsonl"
    write_manifest(manifest, ENTRIES[:1])
    scan(manifest, SMALL)
    first, line = index_path(manifest).read_text().splitlines()
    damaged = json.dumps(json.loads(line) | {"frames": "many"})
    index_path(manifest).write_text(f"{first}\n{damaged}\n")
    with pytest.raises(InputError, match=r"good\.mp4: frames: many"):
        VideoFolder(manifest)


def test_a_quick_scan_says_the_same_of_whole_files(videos: Path) -> None:
    for entry in (ENTRIES[0], ENTRIES[9], ENTRIES[13]):
        slow, quick = (
            check_entry(entry, videos, ScanConfig(smallest_px=32, quick=q)) for q in (False, True)
        )
        assert slow == quick


def test_shards_are_read_by_offset(videos: Path) -> None:
    with tarfile.open(videos / "0.tar", "w") as archive:
        archive.add(videos / "good.mp4", "a/good.mp4")
    manifest = videos / "m.jsonl"
    write_manifest(manifest, [Entry("a/good.mp4", shard="0.tar"), Entry("b.mp4", shard="0.tar")])
    assert said(scan(manifest, SMALL)) == ["usable", "missing"]
    source = VideoFolder(manifest)
    assert [number_of(p) for p in source.frames(0, 35, 3, (48, 80))] == [42, 43, 44]


def test_a_file_that_goes_bad_later_is_named(videos: Path) -> None:
    manifest = videos / "m.jsonl"
    write_manifest(manifest, ENTRIES[:1])
    scan(manifest, SMALL)
    source = VideoFolder(manifest)
    (videos / "good.mp4").write_bytes(b"short")
    with pytest.raises(BadVideoError) as caught:
        source.frames(0, 0, 1, (48, 80))
    assert caught.value.reason == "changed"
    (videos / "good.mp4").unlink()
    with pytest.raises(BadVideoError) as caught:
        source.pcm(0, 0, 1)
    assert caught.value.reason == "missing"


def test_damage_inside_is_found_by_decoding(videos: Path) -> None:
    def noise(number: int, size_hw: tuple[int, int]) -> Rgb:
        return np.random.default_rng(number).integers(0, 255, (*size_hw, 3), dtype=np.uint8)

    path = write_video(videos / "noise.mp4", steady(25, 4), hum(4), picture=noise)
    assert isinstance(check_entry(Entry("noise.mp4"), videos, SMALL), Scanned)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size > 1000]
        place = packets[len(packets) // 2].pos
    assert place is not None
    data = bytearray(path.read_bytes())
    data[place + 200 : place + 900] = bytes(700)
    path.write_bytes(data)
    result = check_entry(Entry("noise.mp4"), videos, SMALL)
    assert isinstance(result, LeftOut)
    assert (result.reason, "damaged pictures" in result.detail) == ("corrupt", True)
    quick = check_entry(Entry("noise.mp4"), videos, ScanConfig(smallest_px=32, quick=True))
    assert isinstance(quick, Scanned)
    write_manifest(videos / "m.jsonl", [Entry("noise.mp4")])
    scan(videos / "m.jsonl", ScanConfig(smallest_px=32, quick=True))
    with pytest.raises(BadVideoError, match="damaged picture"):
        VideoFolder(videos / "m.jsonl").frames(0, 0, 100, (48, 80))


def test_the_list_of_skipped_videos_counts_each_once(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "skipped.jsonl"
    skipped = SkipList(path)
    bad = BadVideoError("corrupt", "a", "x")
    assert skipped.add("a", bad)
    assert not skipped.add("a", bad)
    assert skipped.add("b", BadVideoError("missing", "b", "y"))
    with path.open("a") as lines:
        lines.write('{"key": "c", "rea')
    again = SkipList(path)
    assert again.counts == {"corrupt": 1, "missing": 1}
    assert "a" in again
    assert "c" not in again
    assert json.loads(path.read_text().splitlines()[1]) == {
        "key": "b",
        "reason": "missing",
        "detail": "y",
    }


def test_the_command_counts_and_lists(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = videos / "m.jsonl"
    write_manifest(manifest, ENTRIES)
    assert main([str(manifest), "--smallest-px", "32", "--workers", "2"]) == 0
    shown = capsys.readouterr().out
    assert "3 of 14 usable" in shown
    assert "too short" in shown
    write_manifest(manifest, [Entry("none.mp4")])
    assert main([str(manifest)]) == 1
    manifest.write_text("{")
    assert main([str(manifest)]) == 2
    assert "line 1" in capsys.readouterr().err
    assert main([str(manifest), "--fewest-frames", "3"]) == 2


def test_synthtalk_is_a_source_like_any_other(tmp_path: Path) -> None:
    data = render_split(tmp_path, "train", count=2)
    source: VideoSource = SynthTalkSource(data)
    assert len(source) == 2
    facts = source.facts(1)
    assert (facts.frames, facts.size_hw, facts.shots) == (100, (32, 32), ((0, 100),))
    assert facts.caption == data.captions[1]
    clip = data.clip(1, 20, 10)
    assert np.array_equal(source.frames(1, 20, 10, (32, 32)), clip.frames)
    assert np.array_equal(source.pcm(1, 20, 10), clip.pcm_16k)
    assert source.frames(1, 20, 10, (16, 32)).shape == (10, 16, 32, 3)
    assert source.quiet(1, 20, 10).tolist() == (clip.phoneme_ids == 0).tolist()
    for read in (source.pcm, source.quiet):
        with pytest.raises(InputError, match="must be within 0"):
            read(1, 95, 10)
    assert isinstance(source, KnowsMouths)
    boxes = source.mouth_boxes(1, np.arange(20, 30), (32, 32))
    assert boxes.tolist() == mouth_box(clip.tracks, data.identity(1), (32, 32)).tolist()
    # Twice as large, and a quarter cut off above and below.
    larger = source.mouth_boxes(1, np.arange(20, 30), (32, 64))
    assert larger.tolist() == (2 * boxes - np.array([16, 0, 16, 0])).tolist()
    assert source.digest == SynthTalkSource(data).digest
    shot = Shot(1, 10, 60)
    held = held_frames(source, shot, -5, 33, (32, 32))
    own = data.clip(1, 10, 28).frames
    assert np.array_equal(held, np.concatenate([own[:1]] * 5 + [own]))
    assert np.array_equal(held_frames(source, shot, -5, 5, (32, 32)), np.stack([own[0]] * 5))
    assert np.array_equal(held_frames(source, shot, 3, 4, (32, 32)), own[3:7])


def test_quiet_is_what_is_far_below_the_loud() -> None:
    from flashtalk.streaming.spec import StreamSpec

    pcm = np.concatenate([hum(1), 1e-4 * hum(1), np.zeros(16_000, np.float32)])
    spec = StreamSpec()
    assert quiet_by_loudness(pcm, spec).tolist() == [False] * 25 + [True] * 50
    assert quiet_by_loudness(np.zeros(640 * 40, np.float32), spec).all()


def test_the_picture_of_a_test_is_what_it_says() -> None:
    picture: Rgb = numbered(42)
    assert number_of(picture) == 42
