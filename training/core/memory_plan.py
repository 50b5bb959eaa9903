"""Memory of a training run on each device, computed before anything is allocated.

Weights, gradients and optimizer states are counted exactly from the architecture; the memory of one
block during recomputation is an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from torch import nn

from flashtalk.errors import InputError

GIB = 2**30
_MASTER, _ADAM, _GRADIENT, _HALF = 4, 8, 4, 2


@dataclass(frozen=True)
class NetworkSize:
    """The memory of one network that is sharded over all ranks.

    Args:
        name: for the table.
        parameters: all of them; largest_block: of its largest block.
        trained: whether it has gradients and an optimizer, with master weights in float32; else
            its weights are in bfloat16.
    """

    name: str
    parameters: int
    largest_block: int
    trained: bool

    @classmethod
    def of(cls, name: str, network: nn.Module, *, trained: bool) -> NetworkSize:
        """Counts a network, which may be on the ``meta`` device."""
        blocks = getattr(network, "blocks", None)
        sizes = [
            sum(p.numel() for p in block.parameters())
            for block in (blocks if isinstance(blocks, nn.ModuleList) else [network])
        ]
        return cls(name, sum(p.numel() for p in network.parameters()), max(sizes), trained)


@dataclass(frozen=True)
class ActivationSize:
    """The memory of one forward and backward pass of a chunk.

    Args:
        tokens: of a sample; batch: samples per rank.
        dim, ffn_dim, layers: of the transformer.
        checkpointing: only block inputs are stored, and one block is recomputed at a time.
    """

    tokens: int
    batch: int
    dim: int
    ffn_dim: int
    layers: int
    checkpointing: bool = True

    @property
    def block_input_bytes(self) -> int:
        """Returns the bytes of the residual stream before one block, bfloat16."""
        return self.batch * self.tokens * self.dim * _HALF

    @property
    def block_bytes(self) -> int:
        """Returns an estimate for one block's backward: norms in float32, projections, the FFN."""
        per_token = self.dim * (4 * _MASTER + 12 * _HALF) + 3 * self.ffn_dim * _HALF
        return self.batch * self.tokens * per_token

    @property
    def bytes(self) -> int:
        """Returns the total of all blocks."""
        if not self.checkpointing:
            return self.layers * self.block_bytes
        return self.layers * self.block_input_bytes + self.block_bytes


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes per device, by purpose."""

    rows: tuple[tuple[str, int], ...]
    device_bytes: int

    @property
    def total(self) -> int:
        """Returns the sum of all rows."""
        return sum(size for _, size in self.rows)

    def check(self) -> None:
        """Raises InputError, with the largest entries, if it does not fit."""
        if self.total <= self.device_bytes:
            return
        largest = sorted(self.rows, key=lambda row: -row[1])[:3]
        shown = ", ".join(f"{name} {size / GIB:.1f} GiB" for name, size in largest)
        limit = f"at most {self.device_bytes / GIB:.0f} GiB per device ({shown}); use more ranks"
        raise InputError("memory", f"{self.total / GIB:.1f} GiB", limit)

    def show(self, console: Console) -> None:
        """Formats a table."""
        table = Table(title="memory per device", title_justify="left")
        table.add_column("for")
        table.add_column("GiB", justify="right")
        for name, size in self.rows:
            table.add_row(name, f"{size / GIB:.2f}")
        table.add_section()
        table.add_row("total", f"{self.total / GIB:.2f}")
        table.add_row("device", f"{self.device_bytes / GIB:.0f}")
        console.print(table)


def plan_memory(
    networks: Sequence[NetworkSize],
    activations: ActivationSize,
    *,
    ranks: int,
    device_bytes: int,
    others: Sequence[tuple[str, int]] = (),
) -> MemoryPlan:
    """Returns the plan of a run.

    Args:
        networks: sharded over all ranks.
        activations: of the one evaluation with a graph.
        ranks: number of ranks.
        device_bytes: memory of one device.
        others: names and bytes of unsharded parts: encoders, the VAE and its activations.
    """
    rows: list[tuple[str, int]] = []
    for network in networks:
        each = _MASTER + _ADAM + _GRADIENT if network.trained else _HALF
        what = "master weights, Adam, gradients" if network.trained else "frozen weights"
        rows.append((f"{network.name}: {what}, 1/{ranks}", network.parameters * each // ranks))
    largest = max(network.largest_block for network in networks)
    if ranks > 1:
        # Two blocks in bfloat16: the current one and the prefetched one; and the float32 gradient
        # of one before it is reduced.
        rows.append(("gathered blocks", 2 * largest * _HALF + largest * _GRADIENT))
    rows.append(("activations of one chunk", activations.bytes))
    return MemoryPlan((*rows, *others), device_bytes)
