"""A checkpoint folder as training uses it: frozen models, prompts, networks, the memory plan."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from flashtalk.engine.load import Checkpoint, open_checkpoint
from flashtalk.engine.pipeline import Architecture
from flashtalk.models.dit.model import DiT
from training.core.memory_plan import ActivationSize, MemoryPlan, NetworkSize, plan_memory
from training.core.world import ShardPlan, World, shard
from training.data.buckets import SizeHW
from training.tasks.captions import embed
from training.tasks.frozen import FrozenModels
from training.tasks.sft import DIT_METHODS

_READ_BYTES = 1 << 24


class PublishedModels:
    """The models of a checkpoint folder, published or our own.

    Args:
        preset: ``flashtalk-14b`` or ``tiny``.
        folder: of the checkpoint.
        world: the ranks.
        plan: how networks are laid out.
        architecture: of a published folder of other sizes (``engine.load``).
    """

    def __init__(
        self,
        preset: str,
        folder: Path,
        world: World,
        plan: ShardPlan,
        architecture: Architecture | None = None,
    ) -> None:
        self.world, self.plan = world, plan
        dtype = "bfloat16" if plan.bf16 else "float32"
        self.checkpoint: Checkpoint = open_checkpoint(
            preset, folder, device=str(world.device), dtype=dtype, architecture=architecture
        )
        self.sizes = self.checkpoint.sizes

    def show_memory(
        self,
        trained: Sequence[str],
        frozen: Sequence[str],
        sizes_hw: Sequence[SizeHW],
        batch: int,
        device_bytes: int,
    ) -> MemoryPlan:
        """Prints what each device will hold, before anything is allocated.

        Raises:
            InputError: it does not fit.
        """
        with torch.device("meta"):
            dit = DiT(self.sizes.dit)
        networks = [NetworkSize.of(name, dit, trained=True) for name in trained]
        networks += [NetworkSize.of(name, dit, trained=False) for name in frozen]
        spec, config = self.checkpoint.spec, self.sizes.dit
        area = max(height * width for height, width in sizes_hw)
        activations = ActivationSize(
            tokens=spec.latent_frames * area // spec.token_px**2,
            batch=max(1, batch // self.world.size), dim=config.dim, ffn_dim=config.ffn_dim,
            layers=config.num_layers, checkpointing=self.plan.checkpointing,
        )  # fmt: skip
        paths = self.checkpoint.layout
        encoders = sum(
            file.stat().st_size
            for path in (paths.vae, paths.clip, paths.umt5, paths.wav2vec2)
            for file in files_below(path)
        )
        made = plan_memory(
            networks, activations, ranks=self.world.size, device_bytes=device_bytes,
            others=[("VAE and encoders, whole (size of their files)", encoders)],
        )  # fmt: skip
        made.show(Console(stderr=True, quiet=not self.world.first))
        made.check()
        return made

    def load_frozen(self) -> FrozenModels:
        """VAE, speech and image encoder."""
        paths = self.checkpoint.layout
        files = [f for path in (paths.vae, paths.wav2vec2, paths.clip) for f in files_below(path)]
        vae, audio = self.checkpoint.load_vae(), self.checkpoint.load_speech()
        clip, device = self.checkpoint.load_clip(), self.world.device
        for model in (vae, audio, clip):
            model.requires_grad_(False)
        digest = hashlib.sha256()
        for file in files:
            with file.open("rb") as stream:
                while block := stream.read(_READ_BYTES):
                    digest.update(block)
        return FrozenModels(vae, audio, clip, digest.hexdigest()[:16], device, self.plan.bf16)

    def network(self, *, trained: bool) -> DiT:
        """The transformer with the checkpoint's weights, laid out over the ranks.

        A trained one has float32 master weights; another one has the type it computes in.
        """
        with torch.device("meta"):
            dit = DiT(self.sizes.dit)
        if not trained and self.plan.bf16:
            dit = dit.to(torch.bfloat16)
        dit.requires_grad_(trained)
        plan = ShardPlan(self.plan.bf16, self.plan.checkpointing and trained, DIT_METHODS)
        shard(dit, self.world, plan, self.checkpoint.transformer_state())
        return dit.eval()


class Prompter:
    """Prompts to text tokens, by the frozen text encoder.

    Args:
        models: with the encoder and its vocabulary.
        negative: what guidance moves away from; the null of text.
    """

    def __init__(self, models: PublishedModels, negative: str = "") -> None:
        self._text: nn.Module = models.checkpoint.load_text().requires_grad_(False)
        self._tokenizer = models.checkpoint.load_tokenizer()
        self._device = models.world.device
        self.empty_1ND = self.tokens([negative])

    @torch.no_grad()
    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Text tokens [B, N, D], zero where there is no text."""
        ids_BN, _ = self._tokenizer.encode(list(prompts))
        tokens_BND: Tensor = embed(self._text, ids_BN.to(self._device))  # type: ignore[arg-type]
        return tokens_BND.float()


def files_below(path: Path) -> list[Path]:
    """A file, or all files in a folder, in order."""
    return [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
