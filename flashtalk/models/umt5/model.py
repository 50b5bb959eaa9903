"""The text encoder: a umT5 encoder that encodes a prompt as tokens.

Legend: B batch, N tokens (text_len), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.encoder import Encoder


class TextEncoder(nn.Module):
    """A umT5 encoder: relative position bias in every block, unscaled attention.

    It returns the text context of the report's DiT (section 3.1, Wan2.1's text branch). Parameter
    names are those of transformers' ``UMT5EncoderModel`` without its second, tied name of the
    embedding table.

    Args:
        config: the architecture.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)

    def forward(self, ids_BN: Tensor, mask_BN: Tensor) -> Tensor:
        """Returns the context of padded prompts, zero at padding.

        Args:
            ids_BN: [B, N] int64 token ids, padded on the right.
            mask_BN: [B, N] 1 for tokens, 0 for padding, the tokens first.

        Returns:
            [B, N, D] in the weights' dtype. Rows after a prompt's end are zero, like the DiT's
            padding to text_len.

        Raises:
            InputError: shapes that differ, or an id outside the vocabulary.
        """
        if ids_BN.ndim != 2 or ids_BN.shape != mask_BN.shape or not ids_BN.numel():
            limit = f"[batch, tokens], as the mask {list(mask_BN.shape)}"
            raise InputError("ids", list(ids_BN.shape), limit)
        if ids_BN.min() < 0 or ids_BN.max() >= self.config.vocab:
            raise InputError("ids", int(ids_BN.max()), f"from 0 to {self.config.vocab - 1}")
        mask_BN = mask_BN.to(ids_BN.device)
        context_BND: Tensor = self.encoder(ids_BN, mask_BN.bool())
        return context_BND * mask_BN[..., None].to(context_BND.dtype)


def trim(context_BND: Tensor, mask_BN: Tensor) -> list[Tensor]:
    """Returns each prompt's context without its padding: [n_i, D] per prompt."""
    lengths = mask_BN.sum(1, dtype=torch.int64).tolist()
    return [context[:length] for context, length in zip(context_BND, lengths, strict=True)]
