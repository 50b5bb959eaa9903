"""Networks with the published code's recorded weights (tests/goldens)."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file

from flashtalk.models.vae import VAEConfig, VideoVAE

VAE_GOLDEN = Path(__file__).parents[1] / "goldens" / "vae_tiny.safetensors"


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
    prefix = "state."
    state = {k.removeprefix(prefix): v for k, v in load_file(VAE_GOLDEN).items()
             if k.startswith(prefix)}  # fmt: skip
    model.load_state_dict(state, strict=True)
    return model
