# ruff: noqa: RUF001 - the letters of the International Phonetic Alphabet are meant
"""Speech, phonemes and mouth tracks: reproducible, in step with the sound, closed in silence."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from flashtalk.errors import InputError
from flashtalk.streaming import FPS, PCM_HZ
from training.data.synthtalk.lexicon import GRAMMARS
from training.data.synthtalk.phonemes import PHONEME_CLASSES, PHONEME_INDEX, SILENCE, classes_of
from training.data.synthtalk.sentences import SPLITS, draw_sentence, split_of
from training.data.synthtalk.speech import Phoneme, SpeechError, Synthesiser, Voice
from training.data.synthtalk.visemes import (
    VISEME_OF,
    VISEMES,
    Segment,
    mouth_tracks,
    segments_of,
)
from training.data.synthtalk.voices import LANGUAGES, VARIANTS

ANNA = Voice("en+f1", 160)


@pytest.fixture(scope="module")
def synthesiser() -> Iterator[Synthesiser]:
    with Synthesiser() as speaking:
        try:
            speaking.speak("hello", ANNA)
        except SpeechError as error:
            pytest.skip(str(error))
        yield speaking


def test_every_voice_of_every_split_exists_and_is_heard(synthesiser: Synthesiser) -> None:
    rng = np.random.default_rng(0)
    for language, (names, _) in LANGUAGES.items():
        for variant in {VARIANTS[split][0] for split in SPLITS}:
            text = draw_sentence(rng, language, "train")
            speech = synthesiser.speak(text, Voice(f"{names[0]}+{variant}"))
            assert speech.pcm_16k.dtype == np.float32
            assert speech.seconds > 0.5
            assert 0.01 < speech.pcm_16k.std() < 0.5
            assert len([event for event in speech.phonemes if event.ipa]) >= 5


def test_sound_does_not_depend_on_what_was_said_before(synthesiser: Synthesiser) -> None:
    first = synthesiser.speak("The moon is bright.", ANNA)
    synthesiser.speak("Guten Morgen", Voice("de+m2"))
    again = synthesiser.speak("The moon is bright.", ANNA)
    with Synthesiser() as fresh:
        other_process = fresh.speak("The moon is bright.", ANNA)
    for speech in (again, other_process):
        np.testing.assert_array_equal(first.pcm_16k, speech.pcm_16k)
        assert first.phonemes == speech.phonemes


def test_phoneme_onsets_rise_and_stay_inside_the_sound(synthesiser: Synthesiser) -> None:
    speech = synthesiser.speak("Nobody would follow such a purple bicycle.", ANNA)
    onsets = [event.onset_s for event in speech.phonemes]
    assert onsets == sorted(onsets)
    assert onsets[0] >= 0.0
    assert onsets[-1] <= speech.seconds + 0.01


def test_a_closed_p_is_quieter_and_shut_while_a_vowel_is_loud_and_open(
    synthesiser: Synthesiser,
) -> None:
    speech = synthesiser.speak("Papa, papa, papa, papa.", Voice("en+m1", 130))
    frames = int(speech.seconds * FPS)
    segments = segments_of(speech.phonemes, speech.seconds, 0.0)
    mouth, labels = mouth_tracks(segments, frames)
    blocks = speech.pcm_16k[: frames * PCM_HZ // FPS].reshape(frames, -1)
    loudness = np.sqrt((blocks**2).mean(axis=1))
    lips = np.isin(labels, [PHONEME_INDEX["p"], SILENCE])
    vowels = np.isin(labels, [PHONEME_INDEX[name] for name in ("ɑ", "ʌ", "a", "ɔ", "ə")])
    assert lips.sum() >= 4
    assert vowels.sum() >= 4
    assert loudness[vowels].mean() > 3 * loudness[lips].mean()
    assert mouth[vowels, 0].mean() > 0.3 + mouth[lips, 0].mean()


def test_missing_library_names_the_package_to_install() -> None:
    with (
        Synthesiser(("libabsent-speech.so",)) as speaking,
        pytest.raises(SpeechError, match=r"libabsent-speech\.so.*apt-get install libespeak-ng1"),
    ):
        speaking.speak("hello", ANNA)


def test_unknown_voice_empty_text_and_bad_rate_are_named(synthesiser: Synthesiser) -> None:
    with pytest.raises(SpeechError, match="no voice 'xx-nowhere'"):
        synthesiser.speak("hello", Voice("xx-nowhere"))
    assert synthesiser.speak("hello", ANNA).seconds > 0.1  # it goes on after an error
    with pytest.raises(InputError, match="text"):
        synthesiser.speak("  ", ANNA)
    with pytest.raises(InputError, match="rate_wpm: 20"):
        Voice("en", 20)


@pytest.mark.parametrize("language", sorted(GRAMMARS))
def test_sentences_of_the_splits_never_meet(language: str) -> None:
    drawn = {
        split: {draw_sentence(np.random.default_rng(seed), language, split) for seed in range(60)}
        for split in SPLITS
    }
    for split, sentences in drawn.items():
        assert all(split_of(sentence) == split for sentence in sentences)
        assert len(sentences) > 20
    assert not drawn["train"] & drawn["val"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["val"] & drawn["test"]


def test_voice_variants_of_the_splits_never_meet() -> None:
    names = [variant for split in SPLITS for variant in VARIANTS[split]]
    assert len(names) == len(set(names))


def test_inventory_is_45_sounds_and_silence_and_each_has_a_mouth_shape() -> None:
    assert len(PHONEME_CLASSES) == len(set(PHONEME_CLASSES)) == 46
    assert set(VISEME_OF) == set(PHONEME_CLASSES)
    assert len(VISEMES) == 10


@pytest.mark.parametrize(
    ("ipa", "names"),
    [("oːɹ", ["o", "ɹ"]), ("tɕh", ["tʃ"]), ("th", ["t"]), ("ɑu", ["aʊ"]), ("", []), ("h", ["h"])],
)
def test_events_with_marks_and_several_sounds(ipa: str, names: list[str]) -> None:
    assert [PHONEME_CLASSES[index] for index in classes_of(ipa)] == names


def test_segments_tile_the_time_of_their_events() -> None:
    events = (Phoneme("m", 0.0), Phoneme("onɡ", 0.1), Phoneme("", 0.4))
    segments = segments_of(events, 0.6, 2.0)
    edges = [(segment.start_s, segment.end_s) for segment in segments]
    assert edges[0][0] == pytest.approx(2.0)
    assert edges[-1] == pytest.approx((2.4, 2.6))
    assert all(a[1] == pytest.approx(b[0]) for a, b in itertools.pairwise(edges))
    assert segments[-1].phoneme_class == SILENCE


def test_time_outside_all_sounds_is_silence_with_a_closed_mouth() -> None:
    mouth, labels = mouth_tracks([Segment(PHONEME_INDEX["a"], 0.4, 0.8)], 50)
    assert set(labels[:10]) | set(labels[20:]) == {SILENCE}
    assert set(labels[10:20]) == {PHONEME_INDEX["a"]}
    assert mouth[:8, 0].max() < 0.01
    assert mouth[23:, 0].max() < 0.01
    assert mouth[13:17, 0].min() > 0.9
