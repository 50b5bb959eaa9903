"""Portrait and prompt to tokens: the two encoders that run once per session.

Legend: B batch (1), N tokens, D width.
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from flashtalk.arrays import Rgb
from flashtalk.engine.codec import pixels
from flashtalk.errors import InputError
from flashtalk.models.clip.model import ClipVision
from flashtalk.models.umt5.model import TextEncoder
from flashtalk.models.umt5.text import Tokenizer
from flashtalk.presets import no_prompt_limit


class EncodedPrompt(NamedTuple):
    """Results of the two encoders, before any layer of the DiT.

    Args:
        image_BND: [1, N, D] tokens of the portrait.
        text_BND: [1, N, D] tokens of the prompt.
    """

    image_BND: Tensor
    text_BND: Tensor


class Encoders(Protocol):
    """Encodes portrait and prompt for networks that take both; others get ``NoEncoders``."""

    def embed(self, portrait_HWC: Rgb, prompt: str) -> EncodedPrompt | None:
        """Returns the tokens; ``None``: the network takes none.

        Args:
            portrait_HWC: uint8 [H, W, 3].
            prompt: any text, may be empty.
        """


class NoEncoders:
    """Of a network whose only conditions are the portrait's latents and the speech.

    Args:
        preset: name of the preset, for errors.
    """

    def __init__(self, preset: str) -> None:
        self._preset = preset

    def embed(self, portrait_HWC: Rgb, prompt: str) -> None:
        """Returns nothing. Raises InputError for a prompt."""
        if prompt:
            raise InputError("prompt", prompt, no_prompt_limit(self._preset))


class ConditionEncoders:
    """The image and the text encoder. Stateless.

    Args:
        clip: the image encoder, in evaluation mode.
        text: the text encoder, in evaluation mode.
        tokenizer: tokenizer of the text encoder.
        device: their compute device.
        parked: their weights are in host memory and are copied to the device only while they are
            used. The published ones are 12 GB in bfloat16, for a fraction of a second per session.
    """

    def __init__(
        self,
        clip: ClipVision,
        text: TextEncoder,
        tokenizer: Tokenizer,
        device: torch.device,
        *,
        parked: bool = False,
    ) -> None:
        self.clip, self.text, self.tokenizer = clip, text, tokenizer
        self._device, self._parked = device, parked

    @torch.inference_mode()
    def embed(self, portrait_HWC: Rgb, prompt: str) -> EncodedPrompt:
        """Returns tokens in the encoders' types; arguments as ``Encoders``."""
        image_BND = self._run(self.clip, pixels(portrait_HWC, self._device))
        ids_BN, mask_BN = self.tokenizer.encode([prompt])
        text_BND = self._run(self.text, ids_BN.to(self._device), mask_BN.to(self._device))
        return EncodedPrompt(image_BND, text_BND)

    def _run(self, model: nn.Module, *inputs: Tensor) -> Tensor:
        """Returns a model's output, with weights that are copied to the device for the call."""
        if not self._parked:
            result: Tensor = model(*inputs)
            return result
        tensors = chain(model.named_parameters(), model.named_buffers())
        here = {name: tensor.to(self._device, non_blocking=True) for name, tensor in tensors}
        # The model's own tensors are not moved: a failed call leaves no copies behind.
        visiting: Tensor = torch.func.functional_call(model, here, inputs)
        return visiting


def park(model: nn.Module, device: torch.device) -> None:
    """Moves weights to host memory, page-locked for fast copies to ``device``; in place."""
    for tensor in chain(model.parameters(), model.buffers()):
        host = tensor.data.cpu()
        tensor.data = host.pin_memory() if device.type == "cuda" else host
