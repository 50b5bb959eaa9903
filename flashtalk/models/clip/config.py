"""The configuration of the image encoder: a frozen dataclass, two presets, a JSON form."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from flashtalk.errors import InputError
from flashtalk.validation import JsonConfig


@dataclass(frozen=True)
class ClipConfig(JsonConfig):
    """The visual tower of a CLIP model. The defaults are the published ViT-H/14.

    Args:
        image_size: height and width of the tower's input, in pixels.
        patch_size: of a square patch, in pixels.
        width: channels of a token.
        layers: blocks of the tower as published. The last one is not used and not built: the
            tokens are the penultimate output.
        heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layers in units of ``width``.
        norm_eps: of every LayerNorm.
    """

    image_size: int = 224
    patch_size: int = 14
    width: int = 1280
    layers: int = 32
    heads: int = 16
    mlp_ratio: int = 4
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) <= 0:
                raise InputError(field.name, value, "a positive number")
        if self.image_size % self.patch_size:
            raise InputError("patch_size", self.patch_size, f"must divide {self.image_size}")
        if self.width % self.heads:
            raise InputError("heads", self.heads, f"must divide {self.width}")
        if self.layers < 2:
            raise InputError("layers", self.layers, "at least 2: the last one is left out")

    @classmethod
    def flashtalk_14b(cls) -> ClipConfig:
        """The published open-clip ViT-H/14 (632 M parameters)."""
        return cls()

    @classmethod
    def tiny(cls) -> ClipConfig:
        """A tower with 17 tokens of 128 channels that two CPU cores train and run."""
        return cls(image_size=64, patch_size=16, width=128, layers=5, heads=4)

    @property
    def tokens(self) -> int:
        """Tokens of an image: the class token and one per patch (257 as published)."""
        return 1 + (self.image_size // self.patch_size) ** 2
