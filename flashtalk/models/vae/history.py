"""The state of a streamed VAE between two steps, as a value.

Every causal layer reads the frames it needs from the previous step and stores its own last frames
for the next one. Layers always run in the same order, so the state is a flat tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class VAEState:
    """The state of one direction (encoder or decoder) of one stream.

    ``tails[i]`` are the last input frames of the i-th causal layer, [B, C, 1|2, H, W] in that
    layer's resolution. A new stream starts from ``VAEState()``. Never modified in place: an old
    state may be kept and resumed.
    """

    tails: tuple[Tensor, ...] = ()

    @property
    def started(self) -> bool:
        """Whether frame 0 has been processed."""
        return bool(self.tails)

    def map(self, change: Callable[[Tensor], Tensor]) -> VAEState:
        """Returns a state with ``change`` applied to every tensor (move, cast, select)."""
        return VAEState(tuple(change(t) for t in self.tails))


@dataclass
class History:
    """The access of one step to a ``VAEState``: reads the old tails, collects the new ones."""

    past: VAEState
    new: list[Tensor] = field(default_factory=list)

    @property
    def started(self) -> bool:
        return self.past.started

    def past_tail(self) -> Tensor | None:
        """Returns the current layer's tail of the previous step; None in the first step."""
        return self.past.tails[len(self.new)] if self.past.started else None

    def keep(self, tail: Tensor) -> None:
        """Stores a copy of the current layer's last frames; the full tensor can be freed."""
        self.new.append(tail.clone())

    def state(self) -> VAEState:
        return VAEState(tuple(self.new))
