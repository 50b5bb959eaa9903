"""What a run moves: modules, their optimizers and their averages; one state in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from training.core.config import TrainerConfig
from training.core.ema import Ema
from training.core.errors import TrainingError
from training.core.optimizer import MuonAdamW, build_optimizer
from training.core.task import Task, Update


class Learner:
    """The modules of a task with one optimizer per group.

    Args:
        recipe: its name, for messages.
        config: of the run.
        task: prepared.
    """

    def __init__(self, recipe: str, config: TrainerConfig, task: Task) -> None:
        self.recipe, self.config = recipe, config
        self.modules = dict(task.modules())
        self.groups = dict(task.groups())
        self.optimizers: dict[str, MuonAdamW] = {}
        averaged: dict[str, nn.Module] = {}
        for name, group in self.groups.items():
            members = {key: self.modules[key] for key in group.modules}
            self.optimizers[name] = build_optimizer(config, members)
            averaged |= members if group.averaged else {}
        self.ema = Ema(averaged, config.ema_decay)

    def move(self, update: Update, rate: float, step: int) -> dict[str, float]:
        """Carries an update out; gives its losses and the norm of its gradient.

        Raises:
            TrainingError: a loss or the norm is not finite.
        """
        group, optimizer = self.groups[update.group], self.optimizers[update.group]
        for options in optimizer.param_groups:
            options["lr"] = rate * group.lr_scale * options.get("lr_scale", 1.0)
        update.losses["loss"].backward()
        parameters = [p for options in optimizer.param_groups for p in options["params"]]
        norm = float(nn.utils.clip_grad_norm_(parameters, self.config.clip_norm))
        values = {name: float(value.detach()) for name, value in update.losses.items()}
        if not (math.isfinite(values["loss"]) and math.isfinite(norm)):
            raise TrainingError(
                f"{self.recipe}: step {step}: loss {values['loss']}, "
                f"gradient norm {norm}; resume with a lower lr"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if group.averaged:
            self.ema.update()
        prefix = f"{update.group}_" if len(self.groups) > 1 else ""
        return {prefix + name: value for name, value in {**values, "grad_norm": norm}.items()}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizers and averages."""
        return {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` returned. Raises KeyError, RuntimeError or ValueError."""
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.ema.load_state_dict(state["ema"])
