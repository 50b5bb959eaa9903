"""Captions as text tokens, through a text encoder that is finished or still learning.

Legend: B batch, N tokens (text_len), D width.
"""

import shutil
from collections.abc import Sequence
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
from training.data.source.video import VideoSource


class Prompter:
    """Prompts to text tokens.

    Args:
        encoder: of text.
        tokenizer: its vocabulary.
        device: of the encoder.
        negative: what guidance moves away from; the null of text.
    """

    def __init__(
        self, encoder: TextEncoder, tokenizer: Tokenizer, device: torch.device, negative: str = ""
    ) -> None:
        self._encoder, self._tokenizer, self._device = encoder, tokenizer, device
        self.negative = negative

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Text tokens [B, N, D], float32, zero where there is no text."""
        ids_BN = self._tokenizer.encode(list(prompts))[0].to(self._device)
        tokens_BND: Tensor = self._encoder(ids_BN, (ids_BN != PAD_ID).to(torch.int64))
        return tokens_BND.float()


def learned_tokenizer(captions: Sequence[str], config: TextConfig, folder: Path) -> Tokenizer:
    """The vocabulary in ``folder``; learned from ``captions`` if there is none yet."""
    file = folder / TOKENIZER_FILE
    if not file.exists():
        partial = file.with_suffix(".partial")
        train_tokenizer(captions, config.vocab, partial)
        partial.replace(file)
    return load_tokenizer(file, config.text_len)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Puts the vocabulary of one folder into another one."""
    shutil.copyfile(source / TOKENIZER_FILE, folder / TOKENIZER_FILE)


def captions_of(source: VideoSource) -> list[str]:
    """Of all videos."""
    return [source.facts(video).caption for video in range(len(source))]
