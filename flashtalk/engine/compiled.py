"""Models with torch.compile: repeated regions share one graph per shape (report section 2.3).

A block of the transformer is compiled once for all blocks; the VAE as its encoder and its decoder.
Graphs depend on shapes, and a worker warms up all of them: a session compiles nothing.
"""

from __future__ import annotations

import shutil

import torch
from torch import nn

from flashtalk.diffusion.color import MatchColor, match_color
from flashtalk.engine.inference_form import Transformer
from flashtalk.errors import InputError
from flashtalk.models.ltx_vae.model import LtxVae
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2.model import Wav2Vec2Features

COMPILERS = ("c++", "g++", "clang++")
BACKEND = "inductor"
_GRAPHS_PER_REGION = 64
"""Limit of graphs: sizes, first and later chunks, batches of one and of two."""


def check_compiler() -> None:
    """Raises InputError without a compiler for the output of torch.compile."""
    if not any(map(shutil.which, COMPILERS)):
        raise InputError("compile", "on", "needs a C++ compiler, such as g++")


def compile_transformer(network: Transformer, backend: str | None = None) -> None:
    """Compiles its blocks in place, each shape at its first call (``backend``: of torch)."""
    _compile_each(list(network.blocks), backend)


def compile_speech(model: Wav2Vec2Features, backend: str | None = None) -> None:
    """Compiles all of it in place, each shape at its first call."""
    _compile_each([model], backend)


def compile_vae(vae: VideoVAE | LtxVae, backend: str | None = None) -> None:
    """Compiles its encoder and decoder in place, each shape at its first call."""
    _compile_each([vae.encoder, vae.decoder], backend)


def compiled_colors() -> MatchColor:
    """Returns ``match_color``, compiled at the first call of each shape."""
    matched: MatchColor = torch.compile(match_color, dynamic=False, backend=BACKEND)
    return matched


def _compile_each(regions: list[nn.Module], backend: str | None) -> None:
    torch._dynamo.config.recompile_limit = _GRAPHS_PER_REGION
    for region in regions:
        region.compile(dynamic=False, backend=backend or BACKEND)


def graph_count() -> int:
    """Returns the number of graphs that this process has compiled."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
