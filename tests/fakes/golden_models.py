"""Networks with the published code's recorded weights (tests/goldens)."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from flashtalk.models.checkpoint import build
from flashtalk.models.dit import DiT, DiTConfig
from flashtalk.models.flashhead import FlashHead, FlashHeadConfig
from flashtalk.models.flashhead import weights as flashhead_weights
from flashtalk.models.ltx_vae import LtxVae, LtxVaeConfig
from flashtalk.models.vae import VAEConfig, VideoVAE

VAE_GOLDEN = Path(__file__).parents[1] / "goldens" / "vae_tiny.safetensors"
LTX_VAE_GOLDEN = VAE_GOLDEN.with_name("ltx_vae_tiny.safetensors")
DIT_GOLDEN = VAE_GOLDEN.with_name("dit_tiny.safetensors")
FLASHHEAD_GOLDENS = VAE_GOLDEN.parent / "flashhead"
# Names in our configuration of what the recordings say under "audio".
_SPEECH_NAMES = {
    "window": "audio_window",
    "blocks": "audio_blocks",
    "channels": "audio_channels",
    "intermediate_dim": "intermediate_dim",
    "context_tokens": "context_tokens",
}


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


def golden_flashhead_config(variant: str) -> FlashHeadConfig:
    """Sizes of ``flashhead/dit_VARIANT_tiny``, "pro" or "lite"."""
    notes = json.loads((FLASHHEAD_GOLDENS / f"dit_{variant}_tiny.json").read_text())
    speech = {ours: notes["audio"][theirs] for theirs, ours in _SPEECH_NAMES.items()}
    return FlashHeadConfig.from_dict(notes["config"] | speech)


def golden_flashhead_state(variant: str) -> dict[str, Tensor]:
    """Weights of ``flashhead/dit_VARIANT_tiny``, with the tensors that are not used."""
    return _state(FLASHHEAD_GOLDENS / f"dit_{variant}_tiny.safetensors")


def golden_flashhead(variant: str) -> FlashHead:
    """The transformer of ``flashhead/dit_VARIANT_tiny``."""
    config = golden_flashhead_config(variant)
    state = flashhead_weights.convert(golden_flashhead_state(variant))
    return build(lambda: FlashHead(config), state)


def _state(path: Path) -> dict[str, Tensor]:
    prefix = "state."
    return {k.removeprefix(prefix): v for k, v in load_file(path).items() if k.startswith(prefix)}
