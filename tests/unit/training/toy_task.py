"""A task small enough to train in milliseconds: fit a noisy linear map."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from training.core.board import Board
from training.core.task import OneLoss, StepContext


class ToyTask(OneLoss):
    """Linear regression with batches drawn from the step context; remembers its losses."""

    def __init__(self, on_step: Callable[[int], None] | None = None) -> None:
        torch.manual_seed(3)
        self.model = nn.Linear(4, 1)
        self.losses: dict[int, float] = {}
        self.prepared: list[bool] = []
        self.on_step = on_step

    def modules(self) -> Mapping[str, nn.Module]:
        return {"line": self.model}

    def prepare(self, *, resumed: bool) -> None:
        self.prepared.append(resumed)

    def step(self, context: StepContext) -> Mapping[str, Tensor]:
        if self.on_step is not None:
            self.on_step(context.step)
        x_BD = context.draws.normal((16, 4))
        # The global generators as well: a resumed run must restore them.
        target = x_BD.sum(1, keepdim=True) + 0.1 * torch.randn(16, 1)
        loss = (self.model(x_BD) - target).square().mean() * float(context.numpy.uniform(0.9, 1.1))
        self.losses[context.step] = float(loss.detach())
        return {"loss": loss}

    def evaluate(self, board: Board) -> Mapping[str, float]:
        torch.rand(7)  # an evaluation that draws must not change what training sees
        return {"weight": float(self.model.weight.mean())}

    def export(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        torch.save(self.model.state_dict(), directory / "toy.pt")
