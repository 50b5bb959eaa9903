"""Captions as text tokens, from a finished or trained text encoder.

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
    """Converts prompts to text tokens.

    Args:
        encoder: text encoder.
        tokenizer: its tokenizer.
        device: of the encoder.
        negative: negative prompt of guidance, for dropped text.
    """

    def __init__(
        self, encoder: TextEncoder, tokenizer: Tokenizer, device: torch.device, negative: str = ""
    ) -> None:
        self._encoder, self._tokenizer, self._device = encoder, tokenizer, device
        self.negative = negative

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Returns text tokens [B, N, D], float32, zero for padding."""
        ids_BN = self._tokenizer.encode(list(prompts))[0].to(self._device)
        tokens_BND: Tensor = self._encoder(ids_BN, (ids_BN != PAD_ID).to(torch.int64))
        return tokens_BND.float()


def learned_tokenizer(captions: Sequence[str], config: TextConfig, folder: Path) -> Tokenizer:
    """Returns the tokenizer in ``folder``; trains one on ``captions`` if there is none."""
    file = folder / TOKENIZER_FILE
    if not file.exists():
        partial = file.with_suffix(".partial")
        train_tokenizer(captions, config.vocab, partial)
        partial.replace(file)
    return load_tokenizer(file, config.text_len)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copies the tokenizer of one folder to another one."""
    shutil.copyfile(source / TOKENIZER_FILE, folder / TOKENIZER_FILE)


def captions_of(source: VideoSource) -> list[str]:
    """Returns the captions of all videos."""
    return [source.facts(video).caption for video in range(len(source))]
