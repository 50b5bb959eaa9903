"""Networks with the published code's recorded weights (tests/goldens)."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.ltx_vae import LtxVae, LtxVaeConfig
from flashtalk.models.vae import VAEConfig, VideoVAE

VAE_GOLDEN = Path(__file__).parents[1] / "goldens" / "vae_tiny.safetensors"
LTX_VAE_GOLDEN = VAE_GOLDEN.with_name("ltx_vae_tiny.safetensors")
DIT_GOLDEN = VAE_GOLDEN.with_name("dit_tiny.safetensors")


def golden_vae() -> VideoVAE:
    """The video VAE of ``vae_tiny``."""
    values = json.loads(VAE_GOLDEN.with_suffix(".json").read_text())["config"]
    config = VAEConfig(
        dim=values["dim"],
        z_channels=values["z_dim"],
        dim_mult=tuple(values["dim_mult"]),
        num_res_blocks=values["num_res_blocks"],
        temporal_down=tuple(values["temperal_downsample"]),
    )
    model = VideoVAE(config).eval().requires_grad_(False)
    model.load_state_dict(_state(VAE_GOLDEN), strict=True)
    return model


def golden_ltx_vae() -> LtxVae:
    """The LTX VAE of ``ltx_vae_tiny``."""
    values = json.loads(LTX_VAE_GOLDEN.with_suffix(".json").read_text())["config"]
    model = LtxVae(LtxVaeConfig.from_dict(values)).eval().requires_grad_(False)
    model.load_state_dict(_state(LTX_VAE_GOLDEN), strict=True)
    return model


def golden_dit() -> DiT:
    """The transformer of ``dit_tiny``."""
    notes = json.loads(DIT_GOLDEN.with_suffix(".json").read_text())
    model = DiT(DiTConfig.from_dict(notes["config"] | notes["fixed"])).eval().requires_grad_(False)
    model.load_state_dict(_state(DIT_GOLDEN), strict=True)
    return model


def _state(path: Path) -> dict[str, Tensor]:
    prefix = "state."
    return {k.removeprefix(prefix): v for k, v in load_file(path).items() if k.startswith(prefix)}
