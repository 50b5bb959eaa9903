"""What a portrait looks like, as tokens: transformers' CLIP vision tower behind a thin adapter.

Legend: B batch, C colours, H W pixels, N tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.clip.config import ClipConfig
from flashtalk.ops.cpu_attention import cpu_attention

# Colour statistics that CLIP was trained with, for values in [0, 1].
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
RGB = 3


class ClipVision(nn.Module):
    """All tokens of the penultimate block of a CLIP visual tower, without the last norm.

    The DiT attends to them in every block (report section 3.1, Wan2.1-I2V's image branch).
    Parameter names are those of transformers' ``CLIPVisionModel``; what lies above the
    penultimate block is not built.

    Args:
        config: the architecture.
    """

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        # Imported here as in ``to_transformers``.
        from transformers import CLIPVisionModel

        self.config = config
        tower = CLIPVisionModel(config.to_transformers())
        self.embeddings = tower.embeddings
        self.embeddings.patch_embedding = PatchEmbedding(config)
        self.pre_layrnorm = tower.pre_layrnorm
        self.encoder = tower.encoder

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, in which the tokens are computed."""
        return self.pre_layrnorm.weight.dtype

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Tokens of images of any size, squeezed to the tower's square.

        Args:
            image_BCHW: [B, 3, H, W] float in [-1, 1].

        Returns:
            [B, N, D] in the weights' dtype, the class token first.

        Raises:
            InputError: not a batch of colour images.
        """
        if image_BCHW.ndim != 4 or image_BCHW.shape[1] != 3 or not image_BCHW.numel():
            raise InputError("image", list(image_BCHW.shape), "[batch, 3, height, width]")
        pixels = preprocess(image_BCHW, self.config.image_size).to(self.dtype)
        tokens_BND = self.pre_layrnorm(self.embeddings(pixels))
        with cpu_attention(tokens_BND):
            return self.encoder(inputs_embeds=tokens_BND).last_hidden_state

    def reset_buffers(self) -> None:
        """Compute what no checkpoint holds, after the weights of a meta-device model were set."""
        table = self.embeddings.position_embedding.weight
        ids_1N = torch.arange(len(table), device=table.device)[None]
        self.embeddings.register_buffer("position_ids", ids_1N, persistent=False)


class PatchEmbedding(nn.Conv2d):
    """Pixels to tokens: a convolution whose stride is its kernel, run as one matrix product.

    The same on every device and in every precision, which strided half-precision convolutions of
    few columns are not (``ops.convolution``).
    """

    def __init__(self, config: ClipConfig) -> None:
        patch = config.patch_size
        super().__init__(RGB, config.width, kernel_size=patch, stride=patch, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, D, H / patch, W / patch]."""
        patch = self.kernel_size[0]
        tiled = torch.unflatten(torch.unflatten(input, 3, (-1, patch)), 2, (-1, patch))
        patches_BHWP = tiled.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return F.linear(patches_BHWP, self.weight.flatten(1)).permute(0, 3, 1, 2)


def preprocess(image_BCHW: Tensor, size: int) -> Tensor:
    """Squeeze to a square and normalise the colours.

    The resize is bicubic without antialiasing, and its overshoot is kept: that is what the
    published tower was fed with.

    Args:
        image_BCHW: [B, 3, H, W] in [-1, 1].
        size: height and width of the result, in pixels.

    Returns:
        [B, 3, size, size] float32.
    """
    resized = F.interpolate(
        image_BCHW.float(), size=(size, size), mode="bicubic", align_corners=False
    )
    mean, std = (resized.new_tensor(v).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return (resized * 0.5 + 0.5 - mean) / std
