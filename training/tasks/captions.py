"""Captions as token ids, and as context through a text encoder that is still learning.

Legend: U utterances, B batch, N tokens (text_len), D width.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.umt5.text import (
    PAD_ID,
    TOKENIZER_FILE,
    Tokenizer,
    load_tokenizer,
    train_tokenizer,
)


@dataclass(frozen=True)
class Captions:
    """A vocabulary on disk, read.

    Args:
        tokenizer: prompts to ids.
        file: where the vocabulary lies.
        empty_N: ids of the empty prompt, the null of text.
    """

    tokenizer: Tokenizer
    file: Path
    empty_N: Tensor

    @classmethod
    def learn(cls, captions: Sequence[str], config: TextConfig, folder: Path) -> "Captions":
        """The vocabulary in ``folder``; learned from ``captions`` if there is none yet."""
        file = folder / TOKENIZER_FILE
        if not file.exists():
            partial = file.with_suffix(".partial")
            train_tokenizer(captions, config.vocab, partial)
            partial.replace(file)
        tokenizer = load_tokenizer(file, config.text_len)
        return cls(tokenizer, file, tokenizer.encode([""])[0][0])

    @staticmethod
    def copy(source: Path, folder: Path) -> None:
        """Puts the vocabulary of finished weights where ``learn`` looks for one."""
        shutil.copyfile(source / TOKENIZER_FILE, folder / TOKENIZER_FILE)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Ids [U, N], padded."""
        return self.tokenizer.encode(captions)[0]

    def save(self, folder: Path) -> None:
        """Copies the vocabulary into a folder."""
        shutil.copyfile(self.file, folder / TOKENIZER_FILE)


def embed(encoder: TextEncoder, ids_BN: Tensor) -> Tensor:
    """Context [B, N, D] of padded ids, zero where there is no text."""
    context_BND: Tensor = encoder(ids_BN, (ids_BN != PAD_ID).to(torch.int64))
    return context_BND
