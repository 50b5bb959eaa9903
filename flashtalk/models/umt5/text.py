"""Prepares prompts as in the training of the text encoder: cleaned, tokenised, padded.

Legend: B batch, N tokens (text_len).
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import ftfy
import torch
from tokenizers import Tokenizer as Pieces
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

from flashtalk.errors import InputError, WeightsError

PAD_ID = 0
EOS_ID = 1
PAD, EOS = "<pad>", "</s>"
TOKENIZER_FILE = "tokenizer.json"


def clean_text(text: str) -> str:
    """Repair encoding damage, resolve HTML entities (twice nested ones too), single spaces."""
    resolved = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(resolved.split())


class TextToIds(Protocol):
    """A vocabulary: converts a cleaned prompt to ids, with the end token, without padding."""

    def __call__(self, text: str) -> list[int]:
        """Returns the token ids of ``text``, with the end token."""


class Tokenizer:
    """Converts prompts to padded ids, for a published vocabulary and for the tiny one.

    Args:
        to_ids: the vocabulary.
        text_len: tokens after padding; longer prompts are truncated and keep the end token.
    """

    def __init__(self, to_ids: TextToIds, text_len: int) -> None:
        self._to_ids = to_ids
        self.text_len = text_len

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Clean, tokenise and pad.

        Args:
            texts: B prompts; an empty one is its end token alone.

        Returns:
            ids [B, N] int64 and mask [B, N] int64 (1 for tokens, 0 for padding).

        Raises:
            InputError: there are no prompts.
        """
        if not texts:
            raise InputError("texts", "none", "at least one prompt")
        ids_BN = torch.full((len(texts), self.text_len), PAD_ID)
        mask_BN = torch.zeros_like(ids_BN)
        for row, text in enumerate(texts):
            ids = self._to_ids(clean_text(text))
            if len(ids) > self.text_len:
                ids = [*ids[: self.text_len - 1], EOS_ID]
            ids_BN[row, : len(ids)] = torch.tensor(ids)
            mask_BN[row, : len(ids)] = 1
        return ids_BN, mask_BN


def load_tokenizer(path: Path, text_len: int) -> Tokenizer:
    """Loads the tokenizer of a checkpoint, from local files only.

    Args:
        path: a published tokenizer folder (``google/umt5-xxl``), or a folder with the tiny
            ``tokenizer.json``, or that file.
        text_len: tokens after padding.

    Raises:
        WeightsError: nothing there can be read as a tokenizer.
    """
    file = path / TOKENIZER_FILE if path.is_dir() else path
    try:
        if path.is_dir() and (path / "tokenizer_config.json").is_file():
            return Tokenizer(_published(path), text_len)
        return Tokenizer(_Pieces(Pieces.from_file(str(file))), text_len)
    # The tokenizers library raises bare Exceptions, transformers several kinds.
    except Exception as error:
        raise WeightsError(f"{path}: not a tokenizer: {error}") from error


def train_tokenizer(sentences: Iterable[str], vocab: int, file: Path) -> None:
    """Learns byte pairs from sentences and writes ``tokenizer.json``.

    Every byte is in the vocabulary, so any text of any language can be encoded.

    Args:
        sentences: the training text.
        vocab: maximum number of tokens; at least the 256 bytes and the two special ones.
        file: output path.

    Raises:
        InputError: ``vocab`` is too small for the bytes.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab < len(alphabet) + 2:
        raise InputError("vocab", vocab, f"at least {len(alphabet) + 2}")
    pieces = Pieces(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[PAD, EOS], initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator((clean_text(sentence) for sentence in sentences), trainer)
    pieces.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, EOS_ID)]
    )
    pieces.save(str(file))


class _Pieces:
    """A ``tokenizer.json`` whose post-processor adds the end token."""

    def __init__(self, pieces: Pieces) -> None:
        if pieces.token_to_id(PAD) != PAD_ID or pieces.token_to_id(EOS) != EOS_ID:
            raise ValueError(f"{PAD} must be token {PAD_ID} and {EOS} token {EOS_ID}")
        self._pieces = pieces

    def __call__(self, text: str) -> list[int]:
        return list(self._pieces.encode(text).ids)


def _published(folder: Path) -> TextToIds:
    # Imported here: it takes more than a second, and only published vocabularies need it.
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if (tokenizer.pad_token_id, tokenizer.eos_token_id) != (PAD_ID, EOS_ID):
        raise ValueError(f"padding must be token {PAD_ID} and the end token {EOS_ID}")

    def to_ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=True)["input_ids"])

    return to_ids
