"""What a streamed VAE remembers between two steps, as a value.

Every causal layer takes the frames it needs from the step before and leaves its own last frames
for the step after. Layers are always visited in the same order, so a flat tuple holds it all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class VAEState:
    """The memory of one direction (encoder or decoder) of one stream.

    ``tails[i]`` are the last input frames of the i-th causal layer, [B, C, 1|2, H, W] in that
    layer's resolution. A new stream starts from ``VAEState()``. Never modified in place: an old
    state may be kept and resumed.
    """

    tails: tuple[Tensor, ...] = ()

    @property
    def started(self) -> bool:
        """Whether frame 0 has been seen."""
        return bool(self.tails)

    def map(self, change: Callable[[Tensor], Tensor]) -> VAEState:
        """The same state with every tensor changed (moved, cast, selected from the batch)."""
        return VAEState(tuple(change(t) for t in self.tails))


@dataclass
class History:
    """One step's walk through a ``VAEState``: reads the old tails, gathers the new ones."""

    past: VAEState
    new: list[Tensor] = field(default_factory=list)

    @property
    def started(self) -> bool:
        return self.past.started

    def past_tail(self) -> Tensor | None:
        """The tail that the layer now running left behind; None on the first step."""
        return self.past.tails[len(self.new)] if self.past.started else None

    def keep(self, tail: Tensor) -> None:
        """Store the running layer's last frames. A copy, so that the full tensor can be freed."""
        self.new.append(tail.clone())

    def state(self) -> VAEState:
        return VAEState(tuple(self.new))
