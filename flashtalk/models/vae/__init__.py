"""The causal video VAE; see model.py."""

from flashtalk.models.vae.config import VAEConfig
from flashtalk.models.vae.fit import fit_linear_bypass
from flashtalk.models.vae.history import VAEState
from flashtalk.models.vae.model import VideoVAE

__all__ = ["VAEConfig", "VAEState", "VideoVAE", "fit_linear_bypass"]
