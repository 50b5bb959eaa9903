"""The image encoder: a CLIP vision tower that encodes a portrait as tokens.

Implemented here for the reason in ``wav2vec2/encoder.py``; the tests compare it with transformers'
CLIP, whose names it uses.

Legend: B batch, C colours, H W pixels, N tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.clip.config import ClipConfig
from flashtalk.ops.linear import Linear
from flashtalk.ops.self_attention import SelfAttention

# Colour statistics that CLIP was trained with, for values in [0, 1].
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
RGB = 3
_EMBEDDING_STD = 0.02


class ClipVision(nn.Module):
    """All tokens of the penultimate block of a CLIP visual tower, without the last norm.

    The DiT attends to them in every block (report section 3.1, Wan2.1-I2V's image branch).
    Parameter names are those of transformers' ``CLIPVisionModel``; layers above the penultimate
    block are not built.

    Args:
        config: the architecture.
    """

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        # Misspelt as in the published files.
        self.pre_layrnorm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.encoder = Encoder(config)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, in which the tokens are computed."""
        return self.pre_layrnorm.weight.dtype

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Returns tokens of images of any size, resized to the tower's square.

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
        tokens_BND: Tensor = self.encoder(self.pre_layrnorm(self.embeddings(pixels)))
        return tokens_BND


class Embeddings(nn.Module):
    """Patches to tokens with their positions, the class token first: [B, 3, H, W] to [B, N, D]."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(config.width))
        self.patch_embedding = PatchEmbedding(config)
        self.position_embedding = nn.Embedding(config.tokens, config.width)
        nn.init.normal_(self.class_embedding, std=config.width**-0.5)
        nn.init.normal_(self.position_embedding.weight, std=_EMBEDDING_STD)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Returns tokens [B, N, D]; the class token is the first."""
        patches_BND = self.patch_embedding(pixels_BCHW).flatten(2).transpose(1, 2)
        first_B1D = self.class_embedding.expand(len(pixels_BCHW), 1, -1)
        return torch.cat([first_B1D, patches_BND], dim=1) + self.position_embedding.weight


class Encoder(nn.Module):
    """The blocks up to the penultimate one: [B, N, D] to the same."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers - 1))

    def forward(self, x_BND: Tensor) -> Tensor:
        """Returns [B, N, D]."""
        for layer in self.layers:
            x_BND = layer(x_BND)
        return x_BND


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each after a norm and around a residual: [B, N, D]."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width = config.width
        self.self_attn = SelfAttention(width, config.heads)
        self.layer_norm1 = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = FeedForward(width, config.mlp_ratio * width)
        self.layer_norm2 = nn.LayerNorm(width, eps=config.norm_eps)
        # CLIP's initialisation: residual branches are scaled down with the number of blocks.
        shared = (2 * (config.layers - 1)) ** -0.5
        attention = self.self_attn
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj, self.mlp.fc2):
            nn.init.normal_(linear.weight, std=width**-0.5 * shared)
        nn.init.normal_(attention.out_proj.weight, std=width**-0.5)
        nn.init.normal_(self.mlp.fc1.weight, std=(2 * width) ** -0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Returns [B, N, D], residuals included."""
        x_BND = x_BND + self.self_attn(self.layer_norm1(x_BND))
        out_BND: Tensor = x_BND + self.mlp(self.layer_norm2(x_BND))
        return out_BND


class FeedForward(nn.Module):
    """Two linear layers around GELU: [B, N, D] to the same."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Returns [B, N, D]."""
        out_BND: Tensor = self.fc2(F.gelu(self.fc1(x_BND)))
        return out_BND


class PatchEmbedding(nn.Conv2d):
    """Pixels to tokens: a convolution whose stride is its kernel, run as one matrix product.

    The result is the same on every device and in every precision, unlike that of strided
    half-precision convolutions with few columns (``ops.convolution``).
    """

    def __init__(self, config: ClipConfig) -> None:
        patch = config.patch_size
        super().__init__(RGB, config.width, kernel_size=patch, stride=patch, bias=False)
        nn.init.normal_(self.weight, std=_EMBEDDING_STD)

    def forward(self, input: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, D, H / patch, W / patch]."""
        patch = self.kernel_size[0]
        tiled = torch.unflatten(torch.unflatten(input, 3, (-1, patch)), 2, (-1, patch))
        patches_BHWP = tiled.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return F.linear(patches_BHWP, self.weight.flatten(1)).permute(0, 3, 1, 2)


def preprocess(image_BCHW: Tensor, size: int) -> Tensor:
    """Resizes to a square and normalises the colours.

    The resize is bicubic without antialiasing, and its overshoot is kept, as in the input of the
    published tower.

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
