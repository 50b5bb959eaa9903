"""The sizes of each preset that the planner of ``flashtalk bench capacity`` calculates with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flashtalk.errors import InputError
from flashtalk.models.dit.config import DiTConfig
from flashtalk.models.flashhead.config import FlashHeadConfig
from flashtalk.parallel.traffic import Evaluation
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE, PUBLISHED, WHOLE_VAE
from flashtalk.streaming import StreamSpec, preset_spec

_MOST_PER_HOST = 8
"""GPUs of one host; a pod is one host."""


@dataclass(frozen=True)
class PlannedPreset:
    """A preset whose step times can be estimated.

    Args:
        name: of the preset.
        network: sizes of its transformer.
        size_hw: pixels of its published setting.
        attention_share: share of self-attention in the operations of one evaluation at ``size_hw``.
    """

    name: str
    network: DiTConfig | FlashHeadConfig
    size_hw: tuple[int, int]
    attention_share: float

    @property
    def spec(self) -> StreamSpec:
        """Returns the numbers of its chunks."""
        return preset_spec(self.name)

    @property
    def sliced_vae(self) -> bool:
        """Returns whether the VAE can run on several ranks."""
        return self.name not in WHOLE_VAE

    @property
    def chunk_ms(self) -> float:
        """Returns the milliseconds of video that a chunk adds."""
        return 1e3 * self.spec.new_s

    @property
    def dit_ranks(self) -> tuple[int, ...]:
        """Returns the Ulysses degrees within a host: each rank computes whole heads."""
        heads = self.network.num_heads
        return tuple(n for n in range(1, _MOST_PER_HOST + 1) if heads % n == 0)

    @property
    def vae_ranks(self) -> tuple[int, ...]:
        """Returns the possible numbers of ranks of a VAE pod."""
        return self.dit_ranks if self.sliced_vae else (1,)

    def fps(self, cycle_ms: float) -> float:
        """Returns the frames per second of one session whose chunks take so long."""
        return 1e3 * self.spec.new_frames / cycle_ms

    def tokens(self, size_hw: tuple[int, int]) -> int:
        """Returns the tokens of a chunk: 10,530 of the 14B model at 720x416."""
        cell = self.spec.token_px
        return self.spec.latent_frames * (size_hw[0] // cell) * (size_hw[1] // cell)

    def evaluation(self, size_hw: tuple[int, int]) -> Evaluation:
        """Returns the sizes of one evaluation, for its communication."""
        network = self.network
        context = network.text_len + network.clip_tokens if isinstance(network, DiTConfig) else 0
        return Evaluation(
            self.tokens(size_hw),
            network.num_heads,
            network.head_dim,
            network.num_layers,
            context,
            patch_values=network.patch_hw**2 * network.out_dim,
        )


FLASHTALK_14B = PlannedPreset(PUBLISHED, DiTConfig.flashtalk_14b(), (416, 720), 0.23)
FLASHHEAD_PRO = PlannedPreset(FLASHHEAD, FlashHeadConfig.pro(), (512, 512), 0.405)
FLASHHEAD_LTX = PlannedPreset(FLASHHEAD_LITE, FlashHeadConfig.lite(), (512, 512), 0.088)
PLANNED: Mapping[str, PlannedPreset] = {
    planned.name: planned for planned in (FLASHTALK_14B, FLASHHEAD_PRO, FLASHHEAD_LTX)
}


def planned_preset(name: str) -> PlannedPreset:
    """Returns the sizes of a preset. Raises InputError for one that is not planned (``tiny``)."""
    if name not in PLANNED:
        raise InputError("preset", name, f"one of {', '.join(PLANNED)}")
    return PLANNED[name]
