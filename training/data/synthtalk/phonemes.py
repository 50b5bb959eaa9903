# ruff: noqa: RUF001 - the letters of the International Phonetic Alphabet are meant
"""The phoneme inventory: 45 classes and silence, and the mapping of espeak's IPA to it.

The order of ``PHONEME_CLASSES`` is the label order of the audio encoder's frame classifier and must
not change. Sounds of the other languages join the nearest English class by mouth shape.
"""

PHONEME_CLASSES: tuple[str, ...] = (
    "sil",
    "i",
    "ɪ",
    "e",
    "ɛ",
    "æ",
    "a",
    "ɑ",
    "ɔ",
    "o",
    "u",
    "ʊ",
    "ʌ",
    "ə",
    "ɜ",
    "y",
    "ø",
    "aɪ",
    "aʊ",
    "ɔɪ",
    "eɪ",
    "oʊ",
    "p",
    "b",
    "t",
    "d",
    "k",
    "ɡ",
    "f",
    "v",
    "θ",
    "ð",
    "s",
    "z",
    "ʃ",
    "ʒ",
    "h",
    "tʃ",
    "dʒ",
    "m",
    "n",
    "ŋ",
    "l",
    "ɹ",
    "w",
    "j",
)
PHONEME_INDEX: dict[str, int] = {name: index for index, name in enumerate(PHONEME_CLASSES)}
SILENCE = PHONEME_INDEX["sil"]
VOWELS: frozenset[int] = frozenset(range(1, 22))

_ALIASES: dict[str, str] = {
    "ɐ": "ʌ",
    "ɒ": "ɔ",
    "ɚ": "ɜ",
    "ɝ": "ɜ",
    "ɘ": "ə",
    "ɤ": "ʌ",
    "ɯ": "u",
    "ɨ": "ɪ",
    "ᵻ": "ɪ",
    "ɵ": "ʊ",
    "œ": "ø",
    "ɶ": "a",
    "ʏ": "y",
    "ɥ": "y",
    "ɑ̃": "ɑ",
    "əʊ": "oʊ",
    "ɑu": "aʊ",
    "au": "aʊ",
    "ɑʊ": "aʊ",
    "ai": "aɪ",
    "aɪ": "aɪ",
    "ei": "eɪ",
    "ou": "oʊ",
    "ɔø": "ɔɪ",
    "ɔy": "ɔɪ",
    "ɔi": "ɔɪ",
    "oi": "ɔɪ",
    "eʊ": "oʊ",
    "g": "ɡ",
    "ɟ": "ɡ",
    "c": "k",
    "q": "k",
    "ʔ": "h",
    "x": "h",
    "χ": "h",
    "ç": "h",
    "ɦ": "h",
    "ħ": "h",
    "ɣ": "ɡ",
    "β": "v",
    "ʋ": "v",
    "ɸ": "f",
    "ɱ": "m",
    "ɲ": "n",
    "ɳ": "n",
    "ɴ": "ŋ",
    "ʝ": "j",
    "ʎ": "l",
    "ɫ": "l",
    "ɭ": "l",
    "r": "ɹ",
    "ɾ": "ɹ",
    "ʁ": "ɹ",
    "ʀ": "ɹ",
    "ɻ": "ɹ",
    "ɽ": "ɹ",
    "ʐ": "ʒ",
    "ʑ": "ʒ",
    "ʂ": "ʃ",
    "ɕ": "ʃ",
    "ɖ": "d",
    "ʈ": "t",
    "tɕ": "tʃ",
    "tʂ": "tʃ",
    "dʑ": "dʒ",
    "dʐ": "dʒ",
    "ts": "tʃ",
    "dz": "dʒ",
}
# Marks without a mouth shape: length, stress, syllabicity, nasality, tone, aspiration.
_MARKS = frozenset("ːˑˈˌ̩̯̃ʰʲ.;|-_'~ˠˤ˞̥̪\u200d")


def classes_of(ipa: str) -> list[int]:
    """Returns the phoneme classes of one espeak IPA event, in order of speaking.

    An event may contain several sounds (``"ong"`` in Mandarin); an empty list means a pause or a
    mark that only lengthens the previous sound. Unknown letters are skipped.
    """
    letters = "".join(char for char in ipa if char not in _MARKS and not char.isdigit())
    found: list[int] = []
    position = 0
    while position < len(letters):
        # The h of "th", "kh" in pinyin is aspiration, part of the preceding stop.
        aspiration = position > 0 and letters[position] == "h"
        pair = _class(letters[position : position + 2])
        index = _class(letters[position]) if pair is None else pair
        if index is not None and not aspiration:
            found.append(index)
        position += 1 if pair is None else 2
    return found


def _class(letters: str) -> int | None:
    return PHONEME_INDEX.get(_ALIASES.get(letters, letters))
