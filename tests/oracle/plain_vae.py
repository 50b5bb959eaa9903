"""The published VAE in its plain form: latent by latent, every layer with a cache of its own past.

Slow on purpose, and short: zeros are padded in front of every convolution, norms are written out,
nothing is fused, no memory format is chosen. ``flashtalk.models.vae`` has to give the same numbers.

Legend: B batch, C channels, T frames of a group, H W pixels, F = B * T frames as a batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from flashtalk.models.vae import VAEConfig

_PAST = 2


class PlainVAE:
    """Encoder and decoder of the published structure.

    Args:
        config: without the additions of the ``tiny`` preset (patches, bypass, shortcuts).
        state: tensors under the published names (``VideoVAE.state_dict``).
    """

    def __init__(self, config: VAEConfig, state: Mapping[str, Tensor]) -> None:
        if config.patch_size != 1 or config.linear_bypass or config.linear_shortcuts:
            raise ValueError("the plain form is the published structure only")
        self._config, self._state = config, state
        self._tails: dict[str, Tensor] = {}

    def encode(self, video_BCTHW: Tensor) -> Tensor:
        """[B, 3, 1 + 4n, H, W] in [-1, 1] to normalised latents [B, z, 1 + n, h, w]."""
        self._tails = {}
        groups = [video_BCTHW[:, :, :1], *video_BCTHW[:, :, 1:].split(4, dim=2)]
        raw = torch.cat([self._encoder(group) for group in groups if group.shape[2]], dim=2)
        mu = self._conv("conv1", raw).chunk(2, dim=1)[0]
        mean, std = self._statistics(mu)
        return (mu - mean) / std

    def decode(self, z_BCFHW: Tensor) -> Tensor:
        """Normalised latents [B, z, 1 + n, h, w] to [B, 3, 1 + 4n, H, W], clamped."""
        self._tails = {}
        mean, std = self._statistics(z_BCFHW)
        raw = self._conv("conv2", z_BCFHW * std + mean)
        return torch.cat([self._decoder(z) for z in raw.split(1, dim=2)], dim=2).clamp(-1, 1)

    def _encoder(self, x: Tensor) -> Tensor:
        config = self._config
        x = self._conv("encoder.conv1", x)
        number, name = 0, "encoder.downsamples"
        for level in range(len(config.dim_mult)):
            for _ in range(config.num_res_blocks):
                x = self._residual(f"{name}.{number}", x)
                number += 1
            if level < len(config.dim_mult) - 1:
                x = self._downsample(f"{name}.{number}", x, config.temporal_down[level])
                number += 1
        return self._head("encoder", self._middle("encoder", x))

    def _decoder(self, z: Tensor) -> Tensor:
        config = self._config
        x = self._middle("decoder", self._conv("decoder.conv1", z))
        number, name = 0, "decoder.upsamples"
        for level in range(len(config.dim_mult)):
            for _ in range(config.decoder_blocks):
                x = self._residual(f"{name}.{number}", x)
                number += 1
            if level < len(config.dim_mult) - 1:
                x = self._upsample(f"{name}.{number}", x, config.temporal_down[-1 - level])
                number += 1
        return self._head("decoder", x)

    def _middle(self, part: str, x: Tensor) -> Tensor:
        x = self._residual(f"{part}.middle.0", x)
        x = self._attention(f"{part}.middle.1", x)
        return self._residual(f"{part}.middle.2", x)

    def _head(self, part: str, x: Tensor) -> Tensor:
        return self._conv(f"{part}.head.2", F.silu(self._norm(f"{part}.head.0", x)))

    def _residual(self, name: str, x: Tensor) -> Tensor:
        y = self._conv(f"{name}.residual.2", F.silu(self._norm(f"{name}.residual.0", x)))
        y = self._conv(f"{name}.residual.6", F.silu(self._norm(f"{name}.residual.3", y)))
        if f"{name}.shortcut.weight" in self._state:
            x = self._conv(f"{name}.shortcut", x)
        return x + y

    def _attention(self, name: str, x: Tensor) -> Tensor:
        frames, size = _frames(x), x.shape[3:]
        y = self._frame_conv(f"{name}.to_qkv", self._norm(f"{name}.norm", frames))
        q, k, v = y.flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        y = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2)
        y = self._frame_conv(f"{name}.proj", torch.unflatten(y, 2, size))
        return x + _video(y, x.shape[0])

    def _downsample(self, name: str, x: Tensor, temporal: bool) -> Tensor:
        y = self._frame_conv(f"{name}.resample.1", F.pad(_frames(x), (0, 1, 0, 1)), stride=2)
        y = _video(y, x.shape[0])
        if not temporal:
            return y
        # Frame 0 has no partner; later groups begin with the frame before them.
        before = self._tails.get(name)
        self._tails[name] = y[:, :, -1:].clone()
        if before is None:
            return y
        weight, bias = self._weights(f"{name}.time_conv")
        return F.conv3d(torch.cat((before, y), dim=2), weight, bias, stride=(2, 1, 1))

    def _upsample(self, name: str, x: Tensor, temporal: bool) -> Tensor:
        if temporal and name in self._tails:
            y = self._conv(f"{name}.time_conv", x)
            earlier, later = y.chunk(2, dim=1)
            x = torch.stack((earlier, later), dim=3).flatten(2, 3)
        elif temporal:
            self._tails[name] = x  # only that frame 0 has passed: the next one sees zeros
        up = F.interpolate(_frames(x).float(), scale_factor=2.0, mode="nearest-exact").to(x.dtype)
        return _video(self._frame_conv(f"{name}.resample.1", up, margin=1), x.shape[0])

    def _conv(self, name: str, x: Tensor) -> Tensor:
        """Causal 3D convolution: two frames of the past in front, zeros before frame 0."""
        weight, bias = self._weights(name)
        taps, margin = weight.shape[2], weight.shape[3] // 2
        missing = taps - 1
        if missing:
            past = self._tails.get(name)
            tail = x[:, :, -_PAST:].clone()
            if past is not None:
                if tail.shape[2] < _PAST:
                    tail = torch.cat((past[:, :, -1:], tail), dim=2)
                x = torch.cat((past, x), dim=2)
                missing -= past.shape[2]
            self._tails[name] = tail
        x = F.pad(x, (margin, margin, margin, margin, missing, 0))
        return F.conv3d(x, weight, bias)

    def _frame_conv(self, name: str, x_FCHW: Tensor, margin: int = 0, stride: int = 1) -> Tensor:
        weight, bias = self._weights(name)
        return F.conv2d(x_FCHW, weight, bias, padding=margin, stride=stride)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        normed: Tensor = F.normalize(x, dim=1) * x.shape[1] ** 0.5 * self._state[f"{name}.gamma"]
        return normed

    def _weights(self, name: str) -> tuple[Tensor, Tensor]:
        return self._state[f"{name}.weight"], self._state[f"{name}.bias"]

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean = like.new_tensor(self._config.latent_mean).view(1, -1, 1, 1, 1)
        return mean, like.new_tensor(self._config.latent_std).view(1, -1, 1, 1, 1)


def _frames(x_BCTHW: Tensor) -> Tensor:
    return x_BCTHW.transpose(1, 2).flatten(0, 1)


def _video(x_FCHW: Tensor, batch: int) -> Tensor:
    return torch.unflatten(x_FCHW, 0, (batch, -1)).transpose(1, 2)
