"""The LTX video VAE, with 32x32 pixels and 8 frames per latent; see model.py."""

from flashtalk.models.ltx_vae.config import LtxVaeConfig
from flashtalk.models.ltx_vae.model import LtxVae

__all__ = ["LtxVae", "LtxVaeConfig"]
