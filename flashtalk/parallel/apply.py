"""Distributes a model over the ranks of a mesh: fills its seams, without changing its forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from flashtalk.errors import InputError
from flashtalk.models.dit.block import AudioAttention, ContextAttention
from flashtalk.models.dit.model import DiT
from flashtalk.models.flashhead.block import SpeechAttention
from flashtalk.models.flashhead.model import FlashHead
from flashtalk.models.ltx_vae.model import LtxVae
from flashtalk.models.transformer.attention import SelfAttention
from flashtalk.models.vae.layers import AttentionBlock, CausalConv3d
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.vae.resample import Downsample, Upsample
from flashtalk.ops.attention import Backend as Kernel
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.parallel.conditions import KeptHeads, shared_frame_attention
from flashtalk.parallel.layout import check_layout, shard_tokens
from flashtalk.parallel.mesh import Mesh
from flashtalk.parallel.picture import FrameTokens, NeighbourMargins, Overlap, PictureMesh, Slices
from flashtalk.parallel.sequence import SequenceAttention
from flashtalk.parallel.xdit import xdit_attention

JOIN = "join"
SeamT = TypeVar("SeamT", bound=Callable[..., Any])
Backend = Literal["torch", "xfuser"]


@dataclass(frozen=True)
class RankTokens:
    """A ``TokenShare``: every rank computes its slice of the tokens and gets all results.

    Args:
        mesh: the ranks.
        heads: attention heads of the network.
    """

    mesh: Mesh
    heads: int

    def mine(self, total: int) -> TokenSlice:
        """Returns this rank's tokens. Raises InputError for fewer tokens than ranks."""
        check_layout(self.mesh.layout, self.heads, total)
        return shard_tokens(total, self.mesh.layout.ranks)[self.mesh.rank]

    def join(self, x_BnD: Tensor, tokens: TokenSlice) -> Tensor:
        """Gathers [B, n, D] of all ranks: [B, N, D] on each."""
        batch, _, width = x_BnD.shape
        shards = shard_tokens(tokens.total, self.mesh.layout.ranks)
        shapes = [(batch, shard.count, width) for shard in shards]
        return torch.cat(self.mesh.everyone.all_gather(x_BnD, shapes, JOIN), dim=1)


def apply(
    model: DiT | FlashHead | VideoVAE | LtxVae,
    mesh: Mesh | PictureMesh,
    *,
    exact: bool = True,
    backend: Backend = "torch",
    kernel: Kernel | None = None,
) -> None:
    """Distributes a model over the ranks of its mesh, in place.

    Args:
        model: a transformer with a ``Mesh``, a VAE with a ``PictureMesh`` (the LTX VAE has no
            parallel form: one rank only); the same weights on every rank. All ranks then call it
            together with the same inputs and get whole results.
        mesh: the ranks.
        backend: self-attention of a transformer: torch collectives, or xDiT's kernels on CUDA.
        kernel: attention kernel on each rank; ``None`` selects the fastest for each shape. xDiT
            selects its own.
        exact: False uses the published windows in the VAE, with visible seams (``Overlap``).

    Raises:
        InputError: the network does not fit the mesh, or the backend cannot run here.
    """
    if isinstance(model, DiT | FlashHead) and isinstance(mesh, Mesh):
        _share_tokens(model, mesh, backend, kernel)
    elif isinstance(model, LtxVae):
        if not isinstance(mesh, PictureMesh) or mesh.grid.ranks > 1:
            raise InputError("mesh", type(mesh).__name__, "one rank: the LTX VAE is not sliced")
    elif isinstance(model, VideoVAE) and isinstance(mesh, PictureMesh):
        _share_pictures(model, mesh, exact=exact)
    else:
        raise InputError("mesh", type(mesh).__name__, f"the kind of a {type(model).__name__}")


def _opaque(seam: SeamT, model: nn.Module) -> SeamT:
    """Excludes a seam with communication from compilation: the compiler breaks the graph around
    it."""
    if all(getattr(m, "_compiled_call_impl", None) is None for m in model.modules()):
        return seam
    outside: SeamT = torch.compiler.disable(seam)
    return outside


def _share_pictures(vae: VideoVAE, mesh: PictureMesh, *, exact: bool) -> None:
    """Fills the seams so that every rank computes its slice of the pictures."""
    if mesh.grid.ranks == 1:
        return
    if not exact:
        vae.share = Overlap(mesh)
        return
    vae.share = Slices(mesh)
    margins = _opaque(NeighbourMargins(mesh), vae)
    tokens = _opaque(FrameTokens(mesh), vae)
    for module in vae.modules():
        if isinstance(module, CausalConv3d | Downsample | Upsample):
            module.margins = margins
        elif isinstance(module, AttentionBlock):
            module.whole_frame = tokens


def _share_tokens(
    transformer: DiT | FlashHead, mesh: Mesh, backend: Backend, kernel: Kernel | None
) -> None:
    """Fills the seams so that every rank computes its share of the tokens.

    After this, keys and values of a session (``DiT.encode_context``) contain only this rank's
    heads; those of speech contain all heads, since a rank's tokens attend to them with all.
    """
    if mesh.layout.ranks == 1:
        return
    heads = transformer.config.num_heads
    check_layout(mesh.layout, heads, tokens=mesh.layout.ranks)
    cores = xdit_attention(mesh) if backend == "xfuser" else SequenceAttention(mesh, kernel)
    sequence, kept = _opaque(cores, transformer), KeptHeads(mesh.ulysses, kernel)
    context = _opaque(kept.core, transformer)
    transformer.share = RankTokens(mesh, heads)
    for module in transformer.modules():
        if isinstance(module, SelfAttention):
            module.core = sequence
        elif isinstance(module, ContextAttention) and mesh.ulysses.size > 1:
            module.keep, module.core = kept.keep, context
        elif isinstance(module, AudioAttention | SpeechAttention):
            module.core = partial(shared_frame_attention, backend=kernel)
