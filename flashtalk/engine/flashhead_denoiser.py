"""Computes a chunk's latents with FlashHead: from speech, portrait latents and motion alone."""

from __future__ import annotations

from torch import Tensor

from flashtalk.engine.denoiser import Conditioning, Denoiser, Evaluate, without_gradients
from flashtalk.engine.encoders import EncodedPrompt
from flashtalk.errors import InputError
from flashtalk.models.flashhead.model import FlashHead


class FlashHeadDenoiser(Denoiser):
    """FlashHead: conditioned on the portrait's latents in every frame, without a mask.

    Args:
        network: in evaluation mode on its device.
    """

    network: FlashHead

    def __init__(self, network: FlashHead) -> None:
        super().__init__()
        self.network = network

    def conditioned(
        self,
        encoded: EncodedPrompt | None,
        reference_z: Tensor,
        digest: str,
        *,
        projected: bool = True,
    ) -> Conditioning:
        """Creates a conditioning; arguments and errors as ``Denoiser.conditioned``."""
        if encoded is not None:
            raise InputError("tokens", "of portrait and prompt", "none: this network takes none")
        if reference_z.ndim != 5:
            raise InputError("reference latents", tuple(reference_z.shape), "[B, C, F, H, W]")
        with without_gradients(projected):
            y_BCFHW = reference_z.to(self._device, self.network.dtype)
        return Conditioning(digest, None, y_BCFHW)

    def evaluation(self, conditioning: Conditioning, windows_BTWLD: Tensor) -> Evaluate:
        """Returns the network with the speech projected once for all steps."""
        network, y = self.network, conditioning.y_BCFHW
        audio = network.encode_audio(windows_BTWLD)
        if (batch := len(windows_BTWLD)) > 1:
            y = y.expand(batch, *y.shape[1:])
        return lambda x, time: network(x, time, y, audio)
