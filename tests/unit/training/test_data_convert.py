"""Published metadata and plain folders become manifests; what is missed is counted."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from flashtalk.errors import InputError
from training.data.convert import main
from training.data.published.plain import convert_folder, convert_shards
from training.data.published.speakervid import convert_speakervid
from training.data.published.talkvid import convert_talkvid
from training.data.videos.manifest import Entry, read_manifest

VIDEO = "Tr6MMsoWAog"


def talkvid(start: object, end: object, video: str = VIDEO, **more: Any) -> dict[str, Any]:
    """A record with the fields of the project's README."""
    return {
        "id": f"videovideo{video}-scene1-scene1",
        "height": 1080,
        "width": 1920,
        "fps": 24.0,
        "start-time": start,
        "start-frame": 0,
        "end-time": end,
        "end-frame": 121,
        "durations": "5.042s",
        "info": {"Video Link": f"https://www.youtube.com/watch?v={video}", "Language": "English"},
        "description": " An older man in a suit. ",
        "dover_scores": 8.9,
        **more,
    }


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_talkvid_clips_and_whole_videos(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    touch(
        clips / VIDEO / f"{VIDEO}_001_0.100_5.141.mp4",
        clips / VIDEO / f"{VIDEO}_001_0.100_5.141.m4a",
        clips / "-_23456789_" / "-_23456789__002_7.000_12.500.webm",
        clips / "whole456789.mp4",
    )
    records = [
        talkvid(0.1, 5.141666666666667),
        talkvid(7.0, 12.5, "-_23456789_"),
        talkvid(3.0, 9.0, "whole456789", description=None),
        talkvid(20.0, 25.0),
        talkvid(9.0, 4.0),
        talkvid("x", 4.0),
        talkvid(1.0, 4.0, info={}),
        "no record",
    ]
    metadata = tmp_path / "meta.json"
    metadata.write_text(json.dumps(records))
    made = convert_talkvid(metadata, clips, tmp_path)
    caption = "An older man in a suit."
    assert made.entries == [
        Entry(f"clips/{VIDEO}/{VIDEO}_001_0.100_5.141.mp4", caption=caption),
        Entry("clips/-_23456789_/-_23456789__002_7.000_12.500.webm", caption=caption),
        Entry("clips/whole456789.mp4", start_s=3.0, end_s=9.0),
    ]
    assert made.missed == {
        "not downloaded": 1,
        "start-time and end-time are not a stretch of time": 2,
        "no YouTube address in info / Video Link": 1,
        "not an object": 1,
    }
    assert made.notes == {"no description: the caption is empty": 1}
    metadata.write_text("{}")
    with pytest.raises(InputError, match="a JSON list"):
        convert_talkvid(metadata, clips, tmp_path)
    metadata.write_text("[]")
    with pytest.raises(InputError, match="a folder"):
        convert_talkvid(metadata, tmp_path / "none", tmp_path)


def speakervid(**more: Any) -> dict[str, Any]:
    """A record as the project's script writes it."""
    return {
        "num_frames": 150,
        "is_talking": 1,
        "clip_speaker_num": 1,
        "video_name": f"{VIDEO}_full_video",
        "video_total_duration": 6.0,
        "org_start_seconds": 12.0,
        "bbox": [0.25, 0.1, 0.75, 1.004],
        "raw_video_height": 1080,
        "raw_video_width": 1920,
        **more,
    }


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def test_speakervid_takes_the_shorter_stretch_and_the_box(tmp_path: Path) -> None:
    touch(tmp_path / "videos" / f"{VIDEO}.mp4")
    published = without(speakervid(start_seconds=12.0, end_seconds=18.0), "org_start_seconds")
    records: dict[str, object] = {
        f"{VIDEO}_full_video_1920x1080_001_A": speakervid(start=12.5, duration=5.0),
        f"{VIDEO}_full_video_1920x1080_002_A": speakervid(),
        f"{VIDEO}_full_video_1920x1080_003_A": {**published, "start": "0:00:13", "duration": "4"},
        f"{VIDEO}_full_video_1920x1080_004_A": speakervid(start=2.0, duration=5.0),
        f"{VIDEO}_1920x1080_full_video_005_A": without(published, "is_talking"),
        f"{VIDEO}_full_video_1920x1080_006_A": speakervid(is_talking=0),
        f"{VIDEO}_full_video_1920x1080_007_A": speakervid(bbox=[0.5, 0.5, 0.25, 0.25]),
        f"{VIDEO}_full_video_1920x1080_008_A": without(
            speakervid(), "org_start_seconds", "video_total_duration"
        ),
        "another4567_full_video_1920x1080_001_A": speakervid(),
        f"{VIDEO}_001_A": speakervid(),
        f"{VIDEO}_full_video_1920x1080_009_A": [1],
        f"{VIDEO}_full_video_1920x1080_010_A": speakervid(bbox=None),
    }
    folder = tmp_path / "merged_anno"
    folder.mkdir()
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(record))
    (folder / f"{VIDEO}_full_video_1920x1080_011_A.json").write_text("{")
    made = convert_speakervid(folder, tmp_path / "videos", tmp_path)
    box = (0.25, 0.1, 0.75, 1.0)
    stretches = [(12.0, 18.0), (12.5, 17.5), (12.0, 18.0), (13.0, 17.0), (12.0, 18.0)]
    assert made.entries == [
        Entry(f"videos/{VIDEO}.mp4", start_s=start, end_s=end, box=box) for start, end in stretches
    ]
    assert made.missed == {
        "listening, not talking": 1,
        "a bbox that is not left, top, right, bottom in shares of the picture": 1,
        "no stretch of time": 1,
        "not downloaded": 1,
        "a name without _full_video": 1,
        "a file that holds no object": 1,
        "a file that is not JSON": 1,
        "no bbox of four numbers": 1,
    }
    assert made.notes["start and duration outside of the clip: the longer stretch"] == 1
    assert made.notes["no is_talking: taken as talking"] == 1
    both = convert_speakervid(folder, tmp_path / "videos", tmp_path, listeners=True)
    assert len(both.entries) == 6


def test_speakervid_captions_need_the_names_of_their_fields(tmp_path: Path) -> None:
    touch(tmp_path / f"{VIDEO}.mp4")
    (tmp_path / "anno").mkdir()
    (tmp_path / "captions").mkdir()
    for number in (1, 2):
        name = f"{VIDEO}_full_video_1920x1080_{number:03d}_A.json"
        (tmp_path / "anno" / name).write_text(json.dumps(speakervid()))
    said = {"movement": " He nods. ", "look": "He smiles.", "count": 3}
    first = tmp_path / "captions" / f"{VIDEO}_full_video_1920x1080_001_A.json"
    first.write_text(json.dumps(said))
    where = (tmp_path / "anno", tmp_path, tmp_path)
    with pytest.raises(InputError, match="movement, look"):
        convert_speakervid(*where, captions=tmp_path / "captions")
    made = convert_speakervid(
        *where, captions=tmp_path / "captions", caption_fields=["look", "movement", "mood"]
    )
    assert [entry.caption for entry in made.entries] == ["He smiles. He nods.", ""]
    assert made.notes["a field of the caption is missing"] == 1
    assert made.notes["no file of captions: the caption is empty"] == 1


def test_a_plain_folder(tmp_path: Path) -> None:
    touch(tmp_path / "v" / "a.mp4", tmp_path / "v" / "sub" / "b.MKV", tmp_path / "v" / "c.webm")
    touch(tmp_path / "v" / "notes.pdf")
    (tmp_path / "v" / "a.txt").write_text("A woman.\n")
    (tmp_path / "v" / "c.json").write_text('{"caption": "A man."}')
    made = convert_folder(tmp_path / "v", tmp_path)
    assert made.entries == [
        Entry("v/a.mp4", caption="A woman."),
        Entry("v/c.webm", caption="A man."),
        Entry("v/sub/b.MKV"),
    ]
    assert made.notes == {"no caption: it is empty": 1}
    with pytest.raises(InputError, match="below the manifest's folder"):
        convert_folder(tmp_path / "v", tmp_path / "elsewhere")


def test_shards(tmp_path: Path) -> None:
    shard = tmp_path / "s" / "000.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as archive:
        for name, data in (
            ("0001.mp4", b"v"),
            ("0001.txt", b"One."),
            ("0002.mp4", b"v"),
            ("0002.json", b'{"caption": "Two."}'),
            ("0003.mp4", b"v"),
            ("0003.json", b"["),
            ("./a.b/0004.mp4", b"v"),
            ("./a.b/0004.txt", b"Four."),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    made = convert_shards([shard], tmp_path)
    assert made.entries == [
        Entry("0001.mp4", "s/000.tar", "One."),
        Entry("0002.mp4", "s/000.tar", "Two."),
        Entry("0003.mp4", "s/000.tar"),
        Entry("./a.b/0004.mp4", "s/000.tar", "Four."),
    ]


def test_the_command_says_what_it_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path / "clips" / f"{VIDEO}.mp4")
    metadata = tmp_path / "meta.json"
    metadata.write_text(json.dumps([talkvid(1, 5), talkvid(1, 5, "other456789")]))
    out = tmp_path / "m.jsonl"
    arguments = ["talkvid", str(metadata), str(tmp_path / "clips"), "--out", str(out)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "skipped: not downloaded" in shown
    assert [entry.start_s for entry in read_manifest(out)] == [1.0]
    metadata.write_text("[]")
    other = tmp_path / "none.jsonl"
    assert main([*arguments[:-1], str(other)]) == 1
    assert not other.exists()
    assert main(["folder", str(tmp_path / "gone"), "--out", str(out)]) == 2
    assert "gone" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["hdtf", "x", "--out", str(out)])
