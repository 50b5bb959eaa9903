"""The published transformer in its plain form: every step from its inputs, complex rotary angles.

Slow on purpose, and short: text, portrait and speech are embedded and projected again in every
step, angles are complex128, nothing is kept or fused. ``flashtalk.models.dit`` has to give the same
numbers.

Legend: B batch, N video tokens, M other tokens, D width, H heads, K channels per head, F latent
frames, S tokens per latent frame.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.models.dit import DiTConfig

_PATCH = 2
_PROJECTION_EPS = 1e-5


class PlainDiT:
    """Velocity of noisy latents.

    Args:
        config: sizes.
        state: tensors under the published names (``DiT.state_dict``), float32 or bfloat16.
    """

    def __init__(self, config: DiTConfig, state: Mapping[str, Tensor]) -> None:
        self._config, self._state = config, state
        self._dtype = state["patch_embedding.weight"].dtype

    def __call__(
        self, x: Tensor, t_B: Tensor, y: Tensor, clip: Tensor, text: Tensor, windows: Tensor
    ) -> Tensor:
        """One evaluation.

        Args:
            x: [B, 16, F, H, W] noisy latents; y: [B, 20, F, H, W] mask and conditioning latents.
            t_B: [B] 1000 * sigma.
            clip: [B, 257, D_clip]; text: [B, M, D_text]; windows: [B, 33, W, L, C].

        Returns:
            [B, 16, F, H, W] float32.
        """
        cfg, dtype = self._config, self._dtype
        weight, bias = self._weights("patch_embedding")
        h = F.conv3d(torch.cat((x, y), dim=1).to(dtype), weight, bias, stride=(1, _PATCH, _PATCH))
        grid = (h.shape[2], h.shape[3], h.shape[4])
        h = h.flatten(2).transpose(1, 2)
        time = self._time(t_B)
        six = torch.unflatten(self._linear32("time_projection.1", F.silu(time)), 1, (6, -1))
        image = self._image(clip.to(dtype))
        padded = F.pad(text.to(dtype), (0, 0, 0, cfg.text_len - text.shape[1]))
        words = self._linear("text_embedding.0", padded)
        words = self._linear("text_embedding.2", F.gelu(words, approximate="tanh"))
        speech = self._speech(windows.to(dtype))
        angles = self._angles(grid)
        for number in range(cfg.num_layers):
            h = self._block(f"blocks.{number}", h, six, angles, image, words, speech)
        head = self._state["head.modulation"].float() + time.unsqueeze(1)
        shift, scale = head.chunk(2, dim=1)
        h = self._linear("head.head", (_norm(h, cfg.eps) * (1 + scale) + shift).to(dtype))
        return _unpatchify(h.float(), grid, cfg.out_dim)

    def _block(
        self,
        name: str,
        h: Tensor,
        six: Tensor,
        angles: Tensor,
        image: Tensor,
        words: Tensor,
        speech: Tensor,
    ) -> Tensor:
        eps, dtype = self._config.eps, self._dtype
        modulation = self._state[f"{name}.modulation"].float() + six
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation.chunk(6, dim=1)
        normed = (_norm(h, eps) * (1 + scale) + shift).to(dtype)
        h = (h.float() + self._self_attention(f"{name}.self_attn", normed, angles) * gate).to(dtype)
        h = h + self._context(f"{name}.cross_attn", self._affine(f"{name}.norm3", h), image, words)
        normed = self._affine(f"{name}.norm_x", h)
        h = h + self._audio(f"{name}.audio_cross_attn", normed, speech)
        normed = (_norm(h, eps) * (1 + ffn_scale) + ffn_shift).to(dtype)
        inner = F.gelu(self._linear(f"{name}.ffn.0", normed), approximate="tanh")
        return (h.float() + self._linear(f"{name}.ffn.2", inner) * ffn_gate).to(dtype)

    def _self_attention(self, name: str, h: Tensor, angles: Tensor) -> Tensor:
        q = _rotate(self._heads(self._gain(f"{name}.norm_q", self._linear(f"{name}.q", h))), angles)
        k = _rotate(self._heads(self._gain(f"{name}.norm_k", self._linear(f"{name}.k", h))), angles)
        return self._linear(f"{name}.o", _attend(q, k, self._heads(self._linear(f"{name}.v", h))))

    def _context(self, name: str, h: Tensor, image: Tensor, words: Tensor) -> Tensor:
        q = self._heads(self._gain(f"{name}.norm_q", self._linear(f"{name}.q", h)))
        out: Tensor | None = None
        for tokens, suffix in ((words, ""), (image, "_img")):
            k = self._gain(f"{name}.norm_k{suffix}", self._linear(f"{name}.k{suffix}", tokens))
            v = self._linear(f"{name}.v{suffix}", tokens)
            part = _attend(q, self._heads(k), self._heads(v))
            out = part if out is None else out + part
        assert out is not None
        return self._linear(f"{name}.o", out)

    def _audio(self, name: str, h: Tensor, speech_BFAD: Tensor) -> Tensor:
        batch, frames = speech_BFAD.shape[:2]
        q = self._heads(self._linear(f"{name}.q_linear", h)).unflatten(1, (frames, -1))
        kv = self._linear(f"{name}.kv_linear", speech_BFAD)
        k, v = kv.unflatten(-1, (2, self._config.num_heads, -1)).flatten(0, 1).unbind(2)
        out = _attend(q.flatten(0, 1), k, v).unflatten(0, (batch, frames)).flatten(1, 2)
        return self._linear(f"{name}.proj", out)

    def _time(self, t_B: Tensor) -> Tensor:
        half = self._config.freq_dim // 2
        exponent = torch.arange(half, dtype=torch.float64, device=t_B.device) / half
        angle = torch.outer(t_B.double(), 10_000.0**-exponent)
        code = torch.cat((angle.cos(), angle.sin()), dim=1).float()
        hidden = F.silu(self._linear32("time_embedding.0", code))
        return self._linear32("time_embedding.2", hidden)

    def _image(self, clip: Tensor) -> Tensor:
        x = self._affine("img_emb.proj.0", clip, _PROJECTION_EPS)
        x = self._linear("img_emb.proj.3", F.gelu(self._linear("img_emb.proj.1", x)))
        return self._affine("img_emb.proj.4", x, _PROJECTION_EPS)

    def _speech(self, windows_BTWLC: Tensor) -> Tensor:
        """[B, 33, W, L, C] to [B, F, A, D]: frame 0 whole, later ones in groups of four."""
        cfg = self._config
        centre = cfg.audio_window // 2
        first = windows_BTWLC[:, :1]
        group = torch.unflatten(windows_BTWLC[:, 1:], 1, (-1, cfg.vae_scale))
        parts = (group[:, :, 0, : centre + 1], group[:, :, 1:-1, centre], group[:, :, -1, centre:])
        later = torch.cat(parts, dim=2)
        hidden = torch.cat(
            (
                F.relu(self._linear("audio_proj.proj1", first.flatten(2))),
                F.relu(self._linear("audio_proj.proj1_vf", later.flatten(2))),
            ),
            dim=1,
        )
        tokens = self._linear("audio_proj.proj3", F.relu(self._linear("audio_proj.proj2", hidden)))
        tokens = tokens.unflatten(-1, (cfg.context_tokens, cfg.output_dim))
        return self._affine("audio_proj.norm", tokens, _PROJECTION_EPS)

    def _angles(self, grid: tuple[int, int, int]) -> Tensor:
        """complex128 [N, K / 2]: time, height and width have their own channels."""
        width = self._config.head_dim
        side = 2 * (width // 6)
        axes = []
        for axis, (count, channels) in enumerate(
            zip(grid, (width - 2 * side, side, side), strict=True)
        ):
            power = torch.arange(0, channels, 2, dtype=torch.float64) / channels
            angle = torch.outer(torch.arange(count, dtype=torch.float64), 10_000.0**-power)
            shape = [1, 1, 1, -1]
            shape[axis] = count
            axes.append(torch.polar(torch.ones_like(angle), angle).view(shape).expand(*grid, -1))
        return torch.cat(axes, dim=-1).flatten(0, 2)

    def _heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self._config.num_heads, -1))

    def _gain(self, name: str, x: Tensor) -> Tensor:
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self._config.eps)
        gained: Tensor = scaled.to(x.dtype) * self._state[f"{name}.weight"]
        return gained

    def _affine(self, name: str, x: Tensor, eps: float | None = None) -> Tensor:
        weight, bias = self._weights(name)
        eps = self._config.eps if eps is None else eps
        return F.layer_norm(x.float(), x.shape[-1:], weight.float(), bias.float(), eps).to(x.dtype)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, *self._weights(name))

    def _linear32(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._weights(name)
        return F.linear(x, weight.float(), bias.float())

    def _weights(self, name: str) -> tuple[Tensor, Tensor]:
        return self._state[f"{name}.weight"], self._state[f"{name}.bias"]


def _norm(x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x.float(), x.shape[-1:], None, None, eps)


def _rotate(x_BNHK: Tensor, angles_NP: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x_BNHK.double().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * angles_NP.unsqueeze(1)).flatten(3).to(x_BNHK.dtype)


def _attend(q_BNHK: Tensor, k_BMHK: Tensor, v_BMHK: Tensor) -> Tensor:
    q, k, v = (tensor.transpose(1, 2) for tensor in (q_BNHK, k_BMHK, v_BMHK))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _unpatchify(patches_BNP: Tensor, grid: tuple[int, int, int], channels: int) -> Tensor:
    parts = torch.unflatten(patches_BNP, 1, grid)
    parts = torch.unflatten(parts, -1, (_PATCH, _PATCH, channels))
    return parts.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
