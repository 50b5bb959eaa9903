"""The numbers of a network that concern speech, and what follows from them."""

from __future__ import annotations

from typing import Protocol

from flashtalk.errors import InputError


class SpeechSizes(Protocol):
    """The part of a network's configuration that concerns speech."""

    @property
    def audio_window(self) -> int:
        """Frames of speech features around a video frame, odd."""

    @property
    def audio_blocks(self) -> int:
        """Layers of the speech features."""

    @property
    def audio_channels(self) -> int:
        """Width of the speech features."""

    @property
    def intermediate_dim(self) -> int:
        """Hidden width of the projection."""

    @property
    def context_tokens(self) -> int:
        """Audio tokens per latent frame."""

    @property
    def output_dim(self) -> int:
        """Width of an audio token."""

    @property
    def vae_scale(self) -> int:
        """Video frames per latent frame."""


def group_window(sizes: SpeechSizes) -> int:
    """Returns the window entries of every latent frame after the first (``audio_window``)."""
    return sizes.audio_window + sizes.vae_scale - 1


def latent_frames(frames: int, vae_scale: int) -> int:
    """Latent frames of ``frames`` video frames. Raises InputError unless 1 + n * scale."""
    groups, rest = divmod(frames - 1, vae_scale)
    if frames < 1 or rest:
        raise InputError("frames", frames, f"must be 1 + n * {vae_scale}")
    return 1 + groups
