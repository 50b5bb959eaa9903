"""Sentences from small grammars, split into disjoint sets by a hash of their text."""

import hashlib
from dataclasses import dataclass

import numpy as np

from training.data.synthtalk.lexicon import GRAMMARS

# Share of all sentences, in tenths, that belong to each split.
_TENTHS = {"train": range(0, 8), "val": range(8, 9), "test": range(9, 10)}
SPLITS: tuple[str, ...] = tuple(_TENTHS)


@dataclass(frozen=True)
class Grammar:
    """Templates with ``{slot}`` places and the words that may fill each slot."""

    templates: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]

    def draw(self, rng: np.random.Generator) -> str:
        """Returns one sentence; every occurrence of a slot is filled separately."""
        sentence = self.templates[int(rng.integers(len(self.templates)))]
        while "{" in sentence:
            start, stop = sentence.index("{"), sentence.index("}")
            words = self.slots[sentence[start + 1 : stop]]
            sentence = (
                sentence[:start] + words[int(rng.integers(len(words)))] + sentence[stop + 1 :]
            )
        return sentence[0].upper() + sentence[1:]


def split_of(sentence: str) -> str:
    """Returns the only split of a sentence."""
    tenth = int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:4], "big") % 10
    return next(split for split, tenths in _TENTHS.items() if tenth in tenths)


def draw_sentence(rng: np.random.Generator, language: str, split: str) -> str:
    """Returns a sentence of a language (en, zh, de, es, fr) that belongs to the split."""
    templates, slots = GRAMMARS[language]
    grammar = Grammar(templates, slots)
    while True:
        sentence = grammar.draw(rng)
        if split_of(sentence) == split:
            return sentence
