"""Utterances and the cache on disk."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from flashtalk.errors import InputError
from training.data.__main__ import main
from training.data.synthtalk import (
    SynthTalk,
    SynthTalkConfig,
    build_cache,
    make_utterance,
)
from training.data.synthtalk.phonemes import SILENCE, VOWELS
from training.data.synthtalk.speech import Phoneme, Speech, Voice
from training.data.synthtalk.tracks import TRACK_INDEX
from training.data.synthtalk.voices import VARIANTS

SMALL = SynthTalkConfig("train", 3, 1.0, (32, 32))


class KilledError(Exception):
    """Stands for a kill in the middle of a build."""


def hum(text: str, voice: Voice) -> Speech:
    """A stand-in for the synthesiser: a tone for vowels, nothing for the rest."""
    letters = [letter for letter in text.lower() if letter.isalpha()][:12]
    pcm = np.zeros(len(letters) * 1600, dtype=np.float32)
    for place, letter in enumerate(letters):
        if letter in "aeiou":
            tone = np.sin(np.arange(1600) * (0.05 + 0.001 * voice.pitch))
            pcm[place * 1600 : (place + 1) * 1600] = 0.5 * tone
    events = [Phoneme(letter, place * 0.1) for place, letter in enumerate(letters)]
    return Speech(pcm, (*events, Phoneme("", len(letters) * 0.1)))


@pytest.mark.parametrize("seconds", [0.04, 1.0, 1.96])
def test_lengths_agree_exactly(seconds: float) -> None:
    config = SynthTalkConfig("val", 2, seconds, (32, 32))
    utterance = make_utterance(config, 1, hum)
    frames = round(seconds * 25)
    assert utterance.pcm_16k.shape == (frames * 640,)
    assert utterance.tracks.shape[0] == utterance.phoneme_ids.shape[0] == frames
    assert utterance.render(0, frames, (32, 32)).shape == (frames, 32, 32, 3)
    assert utterance.pcm_16k.dtype == utterance.tracks.dtype == np.float32


def test_sound_and_labels_are_in_step_and_silence_is_closed() -> None:
    for index in range(4):
        utterance = make_utterance(SynthTalkConfig("train", 4, 8.0), index, hum)
        loud = np.abs(utterance.pcm_16k.reshape(-1, 640)).mean(axis=1)
        vowels = np.isin(utterance.phoneme_ids, sorted(VOWELS))
        silent = utterance.phoneme_ids == SILENCE
        assert loud[vowels].mean() > 8 * loud[silent].mean()
        openness = utterance.tracks[:, TRACK_INDEX["openness"]]
        deep = silent & np.roll(silent, 2) & np.roll(silent, -2)
        deep[:2] = deep[-2:] = False
        assert deep.any()
        assert openness[deep].max() < 0.02
        assert openness[vowels].mean() > 0.3


def test_espeak_makes_the_same_utterance_twice() -> None:
    first = make_utterance(SMALL, 0)
    second = make_utterance(SMALL, 0)
    np.testing.assert_array_equal(first.pcm_16k, second.pcm_16k)
    np.testing.assert_array_equal(first.tracks, second.tracks)
    assert first.caption == second.caption


def test_splits_share_no_identity_and_no_voice() -> None:
    people: set[bytes] = set()
    for split in ("train", "val", "test"):
        config = SynthTalkConfig(split, 30, 0.4)
        made = [make_utterance(config, index, hum) for index in range(30)]
        found = {utterance.identity.tobytes() for utterance in made}
        assert len(found) == 30
        assert not found & people
        people |= found
        variants = {utterance.voice.name.split("+")[1] for utterance in made}
        assert variants <= set(VARIANTS[split])


def test_some_utterances_have_long_silences_and_long_tests_none() -> None:
    def longest(config: SynthTalkConfig, index: int) -> int:
        ids = make_utterance(config, index, hum).phoneme_ids
        edges = np.flatnonzero(np.diff(np.concatenate([[False], ids == SILENCE, [False]])))
        return int((edges[1::2] - edges[::2]).max())

    with_silence = [longest(SynthTalkConfig("train", 40, 8.0), index) for index in range(40)]
    share = np.mean([frames >= 37 for frames in with_silence])
    assert 0.05 < share < 0.6
    without = SynthTalkConfig("test", 20, 8.0, long_silences=False)
    assert max(longest(without, index) for index in range(20)) < 37


def test_cache_gives_back_what_was_made(tmp_path: Path) -> None:
    build_cache(SMALL, tmp_path / "c", speak=hum, show_progress=False)
    data = SynthTalk(tmp_path / "c")
    assert len(data) == 3
    assert data.config == SMALL
    for index in range(3):
        made = make_utterance(SMALL, index, hum)
        clip = data.clip(index, 5, 10)
        np.testing.assert_array_equal(clip.tracks, made.tracks[5:15])
        np.testing.assert_array_equal(clip.phoneme_ids, made.phoneme_ids[5:15])
        np.testing.assert_allclose(clip.pcm_16k, made.pcm_16k[3200:9600], atol=1 / 32767)
        rendered = make_utterance(SMALL, index, hum).render(5, 10, (32, 32))
        assert np.abs(clip.frames.astype(int) - rendered).max() <= 1
        np.testing.assert_array_equal(data.identity(index), made.identity)
        assert data.captions[index] == made.caption
        assert data.texts[index] == made.text


def test_killed_build_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    calls = 0

    def dying(text: str, voice: Voice) -> Speech:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KilledError
        return hum(text, voice)

    broken, whole = tmp_path / "broken", tmp_path / "whole"
    with pytest.raises(KilledError):
        build_cache(SMALL, broken, speak=dying, show_progress=False)
    done = np.load(broken / "done.npy")
    assert 0 < done.sum() < 3
    with pytest.raises(InputError, match="resumes"):
        SynthTalk(broken)
    with (broken / "texts.jsonl").open("a") as texts:
        texts.write('{"index": 2, "capt')  # what a kill leaves of a line
    build_cache(SMALL, broken, speak=hum, show_progress=False)
    build_cache(SMALL, whole, speak=hum, show_progress=False)
    for name in ("frames", "pcm", "tracks", "phonemes", "identity", "done"):
        np.testing.assert_array_equal(
            np.load(broken / f"{name}.npy"), np.load(whole / f"{name}.npy"), err_msg=name
        )
    assert SynthTalk(broken).captions == SynthTalk(whole).captions


def test_finished_cache_is_left_alone(tmp_path: Path) -> None:
    build_cache(SMALL, tmp_path, speak=hum, show_progress=False)

    def never(text: str, voice: Voice) -> Speech:
        raise KilledError

    build_cache(SMALL, tmp_path, speak=never, show_progress=False)


def test_cache_of_another_config_or_version_is_refused(tmp_path: Path) -> None:
    build_cache(SMALL, tmp_path, speak=hum, show_progress=False)
    with pytest.raises(InputError, match="a new folder"):
        build_cache(SynthTalkConfig("train", 3, 2.0, (32, 32)), tmp_path, speak=hum)
    meta = json.loads((tmp_path / "meta.json").read_text())
    meta["digest"] = "0" * 16
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="another version"):
        SynthTalk(tmp_path)
    with pytest.raises(InputError, match=r"meta\.json is missing"):
        SynthTalk(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"split": "dev"}, "split"),
        ({"count": 0}, "count"),
        ({"seconds": 0.05}, "seconds"),
        ({"seconds": -1.0}, "seconds"),
        ({"size_hw": (4, 64)}, "size_hw"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_config_is_named(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        SynthTalkConfig(**arguments)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_clip_outside_is_refused(tmp_path: Path) -> None:
    data = SynthTalk(build_cache(SMALL, tmp_path, speak=hum, show_progress=False))
    with pytest.raises(InputError, match="index"):
        data.clip(3, 0, 5)
    with pytest.raises(InputError, match="first, frames"):
        data.clip(0, 20, 6)
    with pytest.raises(InputError, match="first, count"):
        make_utterance(SMALL, 0, hum).render(-1, 5, (32, 32))


def test_command_renders_parts_and_names_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "val", "--count", "1", "--seconds", "0.4", "--size", "32", "32"]
    assert main(arguments) == 0
    assert len(SynthTalk(tmp_path / "val")) == 1
    assert main([*arguments, "--seed", "5"]) == 2
    assert "a new folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path), "dev"])


def test_speech_process_is_gone_after_use() -> None:
    from training.data.synthtalk.speech import Synthesiser

    with Synthesiser() as speaking:
        process: subprocess.Popen[bytes] = speaking._process
    assert process.poll() is not None
