"""Lines of a manifest: what they mean, and what is said of bad ones."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from training.data.videos.manifest import (
    Entry,
    manifest_digest,
    parse_lines,
    read_manifest,
    write_manifest,
)

SECONDS = st.floats(0, 5000, allow_nan=False)
NAMES = st.text("abcdé /._-", min_size=1).filter(
    lambda text: not text.startswith("/") and ".." not in text.split("/")
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    start, length = draw(SECONDS), draw(st.floats(0.01, 100))
    edges = sorted(draw(st.sets(SECONDS, max_size=6)))
    shots = tuple(zip(edges[::2], edges[1::2], strict=False))
    left, top = draw(st.floats(0, 0.8)), draw(st.floats(0, 0.8))
    return Entry(
        path=draw(NAMES),
        shard=draw(st.sampled_from(["", "shards/0.tar"])),
        caption=draw(st.text()),
        start_s=start,
        end_s=draw(st.sampled_from([None, start + length])),
        shots_s=shots,
        box=(left, top, left + 0.1, top + 0.2),
    )


@given(entries())
def test_an_entry_survives_being_written(entry: Entry) -> None:
    line = json.dumps(entry.record())
    assert list(parse_lines([line], "m")) == [entry]


def test_null_is_the_default_of_what_may_be_absent() -> None:
    line = '{"path": "a", "shard": null, "end": null, "shots": null, "box": null}'
    assert list(parse_lines([line], "m")) == [Entry("a")]


def test_a_manifest_is_written_and_read(tmp_path: Path) -> None:
    given = [Entry("a.mp4", caption="Ein Mann, 说话"), Entry("b.mp4", shot_frames=((0, 50),))]
    path = tmp_path / "new" / "m.jsonl"
    assert write_manifest(path, given) == 2
    assert read_manifest(path) == given
    path.write_text(path.read_text() + "\n\n")
    assert read_manifest(path) == given
    assert manifest_digest(given) != manifest_digest(given[::-1])


def test_shots_of_one_file_have_names_of_their_own() -> None:
    keys = {Entry("a.mp4").key, Entry("a.mp4", start_s=1).key, Entry("a.mp4", end_s=9.5).key}
    assert keys == {"a.mp4", "a.mp4@1-", "a.mp4@0-9.5"}
    assert Entry("a.mp4", shard="s.tar").key == "s.tar:a.mp4"


@pytest.mark.parametrize(
    ("line", "field", "limit"),
    [
        ("{", "m line 2", "JSON"),
        ("[1]", "m line 2", "an object"),
        ('{"caption": "x"}', "m line 2: path", "relative to the manifest"),
        ('{"path": "/etc/passwd"}', "m line 2: path", "below the manifest's folder"),
        ('{"path": "a/../../b.mp4"}', "m line 2: path", "below the manifest's folder"),
        ('{"path": "a", "shard": "../b.tar"}', "m line 2: shard", "below"),
        ('{"path": "a", "captoin": "x"}', "m line 2: captoin", "one of path, shard"),
        ('{"path": "a", "caption": 5}', "m line 2: caption", "a text"),
        ('{"path": "a", "start": -1}', "m line 2: start", "at least 0"),
        ('{"path": "a", "start": "1"}', "m line 2: start", "a number of seconds"),
        ('{"path": "a", "start": null}', "m line 2: start", "a number of seconds"),
        ('{"path": "a", "start_s": 1}', "m line 2: start_s", "one of path, shard"),
        ('{"path": "a", "start": true}', "m line 2: start", "a number of seconds"),
        ('{"path": "a", "end": NaN}', "m line 2: end", "a number of seconds"),
        ('{"path": "a", "start": 3, "end": 3}', "m line 2: end", "later than start"),
        ('{"path": "a", "shots": [[0, 2], [1, 3]]}', "m line 2: shots", "not overlap"),
        ('{"path": "a", "shots": [[2, 1]]}', "m line 2: shots", "ascending"),
        ('{"path": "a", "shots": [3]}', "m line 2: shots", "[beginning, end]"),
        ('{"path": "a", "shot_frames": [[0, 2.5]]}', "m line 2: shot_frames", "a whole number"),
        (
            '{"path": "a", "shots": [[0, 1]], "shot_frames": [[0, 9]]}',
            "m line 2: shots",
            "not both",
        ),
        ('{"path": "a", "box": [0, 0, 1]}', "m line 2: box", "[left, top, right, bottom]"),
        ('{"path": "a", "box": [0.5, 0, 0.4, 1]}', "m line 2: box", "left < right"),
        ('{"path": "a", "box": [0, 0, 1.2, 1]}', "m line 2: box", "<= 1"),
    ],
)
def test_a_bad_line_is_named(line: str, field: str, limit: str) -> None:
    with pytest.raises(InputError) as caught:
        list(parse_lines(['{"path": "fine.mp4"}', line], "m"))
    assert caught.value.field == field
    assert limit in caught.value.limit


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="readable"):
        read_manifest(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="at least one line"):
        read_manifest(tmp_path / "empty.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="readable text"):
        read_manifest(tmp_path / "binary.jsonl")
