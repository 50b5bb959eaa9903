"""The models of a checkpoint folder for training: frozen encoders and trained networks.

Legend: B batch, C colour or latent channels, T frames, H W pixels, F h w latent axes, M image
tokens, D width, S samples, L layers.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from flashtalk.engine import (
    Architecture,
    AudioEncoder,
    DiTDenoiser,
    FlashTalkCheckpoint,
    Stages,
    VideoCodec,
    flashtalk_checkpoint,
    open_checkpoint,
)
from flashtalk.engine.placement import Placement
from flashtalk.engine.sampling import Sampling
from flashtalk.errors import InputError
from flashtalk.models.checkpoint import CheckpointLayout
from flashtalk.models.checkpoint.read import has_weights
from flashtalk.models.clip import weights as clip_weights
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.dit import weights as dit_weights
from flashtalk.models.dit.block import AudioAttention, ContextAttention
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.dit.model import DiT
from flashtalk.models.transformer.attention import SelfAttention
from flashtalk.models.umt5.config import TextConfig
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.vae import weights as vae_weights
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2 import weights as audio_weights
from flashtalk.models.wav2vec2.model import Wav2Vec2Features
from flashtalk.ops.token_slice import TokenSlice
from flashtalk.overlays import Overlay
from flashtalk.presets import TINY
from flashtalk.streaming import StreamSpec, preset_spec
from training.core.memory_plan import ActivationSize, MemoryPlan, NetworkSize, plan_memory
from training.core.sharding import ShardPlan, shard
from training.core.world import World
from training.data.buckets import SizeHW
from training.data.encode import Encoders

FROZEN_ROLES = {"vae": "tiny_vae", "wav2vec2": "tiny_audio", "clip": "tiny_identity"}
LEARNED_ROLES = {"umt5": "tiny_sft", "dit": "tiny_sft"}
DIT_METHODS = ("embed_context", "embed_audio", "embed_time")
_READ_BYTES = 1 << 24


@dataclass(frozen=True)
class FrozenModels:
    """VAE, speech encoder and image encoder, without gradients.

    With ``bf16`` speech and video are encoded in bfloat16, 4 times as fast on a CPU that supports
    it; latents then differ by 0.5 % of their spread.
    """

    vae: VideoVAE
    audio: Wav2Vec2Features
    clip: ClipVision
    digest: str
    device: torch.device
    bf16: bool = False

    @torch.no_grad()
    def video(self, video_BCTHW: Tensor) -> Tensor:
        """[B, 3, T, H, W] in [-1, 1] -> normalised latents [B, C, F, h, w]."""
        kind = next(self.vae.parameters()).dtype
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.vae.encode(video_BCTHW.to(self.device, kind)).float()

    @torch.no_grad()
    def motion_after(self, z_BCFHW: Tensor, spec: StreamSpec) -> Tensor:
        """Converts latents of a chunk to the motion latents of the next one.

        All nine are decoded, and the last five frames are clamped and encoded again: no shortcut
        gives the same latents.
        """
        last = self.decode(z_BCFHW)[:, :, -spec.motion_frames :].clamp(-1, 1).contiguous()
        return self.video(last)

    @torch.no_grad()
    def decode(self, z_BCFHW: Tensor) -> Tensor:
        """Normalised latents [B, C, F, h, w] -> [B, 3, T, H, W], about [-1, 1]."""
        kind = next(self.vae.parameters()).dtype
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.vae.decode(z_BCFHW.to(self.device, kind)).float()

    @torch.no_grad()
    def image(self, image_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> tokens [B, M, D]."""
        tokens_BMD: Tensor = self.clip(
            image_BCHW.to(self.device, next(self.clip.parameters()).dtype)
        )
        return tokens_BMD.float()

    @torch.no_grad()
    def speech(self, pcm_BS: Tensor, frames: int) -> Tensor:
        """Normalised windows [B, S] -> [B, frames, L, D]."""
        kind = next(self.audio.parameters()).dtype
        waveforms_BS = pcm_BS.to(self.device, kind)
        if self.device.type != "cpu":
            features_BTLD: Tensor = self.audio(waveforms_BS, frames)
            return features_BTLD.float()
        # One by one: a batch of waveforms exceeds a CPU's cache (8 windows together take 2.1 s on
        # two cores, one by one 0.3 s).
        one_by_one = [self.audio(pcm_1S, frames) for pcm_1S in waveforms_BS.split(1)]
        return torch.cat(one_by_one).float()

    def stages(self, dit: DiT, spec: StreamSpec) -> Stages:
        """Returns the stages of the chunk loop, with the current transformer."""
        audio = AudioEncoder(self.audio, spec)
        codec = VideoCodec(self.vae, spec, autocast=torch.bfloat16 if self.bf16 else None)
        return Stages(spec, audio, DiTDenoiser(dit), codec)

    def encoders(self) -> Encoders:
        """Returns the models in the form of the latent cache."""
        name = f"{self.digest}-bf16" if self.bf16 else self.digest
        return Encoders(self.video, self.image, self.speech, name)


class Models:
    """The models of a checkpoint folder, published or our own.

    Args:
        checkpoint: the folder.
        world: the ranks.
        plan: sharding and compute dtype of the networks.
    """

    def __init__(self, checkpoint: FlashTalkCheckpoint, world: World, plan: ShardPlan) -> None:
        self.checkpoint, self.world, self.plan = checkpoint, world, plan
        self.sizes = checkpoint.sizes

    @classmethod
    def open(
        cls,
        preset: str,
        folder: Path,
        world: World,
        plan: ShardPlan,
        *,
        transformer: str = "",
        architecture: Architecture | None = None,
        overlays: Sequence[Overlay] = (),
    ) -> Models:
        """Opens a finished checkpoint.

        Args:
            preset: ``flashtalk-14b`` or ``tiny``.
            folder: of the checkpoint.
            world, plan: as in the class.
            transformer: name of a folder inside, whose transformer is used instead.
            architecture: of a published folder with other sizes (``engine.load``).
            overlays: files merged into the transformer's weights (``engine.load``).

        Raises:
            InputError: a model has not been trained yet, or the folder is missing.
            WeightsError: parts are missing or do not fit each other.
        """
        if preset == TINY:
            _check_finished(folder, FROZEN_ROLES | LEARNED_ROLES)
        place = _placement(world, plan)
        found = flashtalk_checkpoint(
            open_checkpoint(
                preset,
                folder,
                device=str(world.device),
                dtype=str(place.dtype).removeprefix("torch."),
                sampling=Sampling(),
                architecture=architecture,
                overlays=overlays,
            )
        )
        if transformer:
            other = folder / transformer
            if not other.is_dir():
                raise InputError("teacher", other, "must be a folder with a transformer")
            layout = dataclasses.replace(found.layout, dit=other)
            sizes = dataclasses.replace(found.sizes, dit=dit_weights.load_config(other))
            found = dataclasses.replace(found, layout=layout, sizes=sizes)
        return cls(found, world, plan)

    @classmethod
    def unfinished(
        cls, folder: Path, world: World, plan: ShardPlan, dit: DiTConfig, text: TextConfig
    ) -> Models:
        """Opens a folder of ours whose transformer and text encoder are not trained yet.

        Raises:
            InputError: another model has not been trained yet.
        """
        _check_finished(folder, FROZEN_ROLES)
        roles = {role: folder / role for role in (*FROZEN_ROLES, *LEARNED_ROLES)}
        sizes = Architecture(
            dit=dit,
            text=text,
            vae=vae_weights.load_config(roles["vae"]),
            audio=audio_weights.load_config(roles["wav2vec2"]),
            clip=clip_weights.load_config(roles["clip"]),
        )
        layout = CheckpointLayout("own", **roles, tokenizer=roles["umt5"])
        place = _placement(world, plan)
        spec = sizes.spec(preset_spec(TINY))
        return cls(FlashTalkCheckpoint(TINY, Sampling(), place, spec, layout, sizes), world, plan)

    def show_memory(
        self,
        trained: Sequence[str],
        frozen: Sequence[str],
        sizes_hw: Sequence[SizeHW],
        batch: int,
        device_bytes: int,
    ) -> MemoryPlan:
        """Prints the memory of each device before anything is allocated.

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
            batch=max(1, batch // self.world.size),
            dim=config.dim,
            ffn_dim=config.ffn_dim,
            layers=config.num_layers,
            checkpointing=self.plan.checkpointing,
        )
        paths = self.checkpoint.layout
        encoders = sum(
            file.stat().st_size
            for path in (paths.vae, paths.clip, paths.umt5, paths.wav2vec2)
            for file in _files_below(path)
        )
        made = plan_memory(
            networks,
            activations,
            ranks=self.world.size,
            device_bytes=device_bytes,
            others=[("VAE and encoders, unsharded (size of their files)", encoders)],
        )
        made.show(Console(stderr=True, quiet=not self.world.first))
        made.check()
        return made

    def frozen(self) -> FrozenModels:
        """Returns VAE, speech and image encoder."""
        paths, device, bf16 = self.checkpoint.layout, self.world.device, self.plan.bf16
        vae, audio = self.checkpoint.load_vae(), self.checkpoint.load_speech()
        clip = self.checkpoint.load_clip()
        if bf16 and device.type == "cpu":
            audio = audio.to(torch.bfloat16)
        for model in (vae, audio, clip):
            model.requires_grad_(False)
        digest = hashlib.sha256()
        for path in (paths.vae, paths.wav2vec2, paths.clip):
            for file in _files_below(path):
                with file.open("rb") as stream:
                    while block := stream.read(_READ_BYTES):
                        digest.update(block)
        return FrozenModels(vae, audio, clip, digest.hexdigest()[:16], device, bf16)

    def text(self) -> TextEncoder:
        """Returns the frozen text encoder."""
        return self.checkpoint.load_text().requires_grad_(False)

    def network(self, *, trained: bool) -> DiT:
        """The transformer with the checkpoint's weights, laid out over the ranks.

        A trained one has float32 master weights. Another one of a published folder, whose files
        are bfloat16, has the type it computes in; one of our own keeps the bits that bfloat16
        would round off (1.4 % of the velocity instead of 0.8 % under autocast).
        """
        with torch.device("meta"):
            dit = DiT(self.sizes.dit)
        if not trained and self.plan.bf16 and self.checkpoint.layout.kind != "own":
            dit = dit.to(torch.bfloat16)
        dit.requires_grad_(trained)
        self._fit_attention(dit)
        plan = dataclasses.replace(
            self.plan, checkpointing=self.plan.checkpointing and trained, methods=DIT_METHODS
        )
        shard(dit, self.world, plan, self.checkpoint.transformer_state())
        return dit.eval()

    def fresh(self, seed: int) -> tuple[DiT, TextEncoder]:
        """Returns transformer and text encoder with random weights, not sharded yet."""
        torch.manual_seed(seed)
        dit = DiT(self.sizes.dit).to(self.world.device)
        self._fit_attention(dit)
        return dit, TextEncoder(self.sizes.text).to(self.world.device)

    def lay_out(self, dit: DiT, text: TextEncoder) -> None:
        """Shards both over the ranks, in place."""
        shard(dit, self.world, dataclasses.replace(self.plan, methods=DIT_METHODS))
        shard(text, self.world, self.plan)

    def _fit_attention(self, dit: DiT) -> None:
        """Keeps attention in float32 on a CPU, where its backward is 8 times as fast.

        Sharded weights are bfloat16 themselves: there is no autocast to leave.
        """
        if self.plan.bf16 and self.world.device.type == "cpu" and self.world.size == 1:
            keep_attention_float32(dit)


def _placement(world: World, plan: ShardPlan) -> Placement:
    """Returns the dtype of the frozen models: float32 weights on a CPU, rounded by autocast."""
    half = plan.bf16 and world.device.type != "cpu"
    return Placement(world.device, torch.bfloat16 if half else torch.float32)


def _check_finished(folder: Path, recipe_of: dict[str, str]) -> None:
    for role, recipe in recipe_of.items():
        if not has_weights(folder / role):
            raise InputError(
                "--weights", folder / role, f"no finished model; run recipe {recipe} first"
            )


def _files_below(path: Path) -> list[Path]:
    """Returns a file, or all files in a folder, in order."""
    return [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())


def in_float32(core: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Runs the attention of ``core`` outside of autocast; passes on its information on tokens."""

    def attend(q_BNHD: Tensor, k_BMHD: Tensor, v_BMHD: Tensor, *tokens: TokenSlice) -> Tensor:
        with torch.autocast(q_BNHD.device.type, enabled=False):
            return core(q_BNHD.float(), k_BMHD.float(), v_BMHD.float(), *tokens)

    return attend


def keep_attention_float32(dit: DiT) -> None:
    """Makes the attention in each seam of ``dit`` compute in float32."""
    for module in dit.modules():
        if isinstance(module, (SelfAttention, ContextAttention, AudioAttention)):
            module.core = in_float32(module.core)
