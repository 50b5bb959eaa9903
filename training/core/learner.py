"""The trained state of a run: modules, their optimizers and their averages, for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from training.core.config import TrainerConfig
from training.core.ema import Ema
from training.core.errors import TrainingError
from training.core.optimizer import MuonAdamW, build_optimizer
from training.core.sharding import full_tensor
from training.core.task import Task, Update
from training.core.world import World

_CARRIED = "carried."


class Learner:
    """The modules of a task with one optimizer per group.

    Args:
        recipe: its name, for messages.
        config: of the run.
        task: prepared, its modules sharded over the ranks.
        world: the ranks.
    """

    def __init__(self, recipe: str, config: TrainerConfig, task: Task, world: World) -> None:
        self.recipe, self.config, self.task, self.world = recipe, config, task, world
        self.modules = dict(task.modules())
        self.groups = dict(task.groups())
        self.optimizers: dict[str, MuonAdamW] = {}
        averaged: dict[str, nn.Module] = {}
        for name, group in self.groups.items():
            members = {key: self.modules[key] for key in group.modules}
            self.optimizers[name] = build_optimizer(config.optimizer, members)
            averaged |= members if group.averaged else {}
        self.ema = Ema(averaged, config.ema_decay)

    def apply(self, update: Update, rate: float, step: int) -> dict[str, float]:
        """Applies an update; returns its losses and the norm of its gradient.

        Raises:
            TrainingError: a loss or the norm is not finite.
        """
        group, optimizer = self.groups[update.group], self.optimizers[update.group]
        for options in optimizer.param_groups:
            options["lr"] = rate * group.lr_scale * options.get("lr_scale", 1.0)
        update.losses["loss"].backward()
        parameters = [p for options in optimizer.param_groups for p in options["params"]]
        norm = float(
            full_tensor(nn.utils.clip_grad_norm_(parameters, self.config.optimizer.clip_norm))
        )
        values = {name: float(value.detach()) for name, value in update.losses.items()}
        values = self.world.means(values) | {"grad_norm": norm}
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
        return {prefix + name: value for name, value in values.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Returns weights, optimizer states, averages and the task's carried tensors, by name: the
        contents of a checkpoint."""
        found = {
            f"modules.{name}.{key}": tensor
            for name, module in self.modules.items()
            for key, tensor in module.state_dict().items()
        }
        for prefix, optimizer, parameter in self._parameters():
            for key, value in optimizer.state[parameter].items():
                found[f"{prefix}.{key}"] = value
        found |= {f"ema.{key}": value for key, value in self.ema.average.items()}
        return found | {_CARRIED + key: value for key, value in self.task.carried().items()}

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Creates the tensors of a checkpoint other than weights, to be filled."""
        self.task.make_room(
            {
                name.removeprefix(_CARRIED): shape
                for name, shape in shapes.items()
                if name.startswith(_CARRIED)
            }
        )
        # A parameter that was never updated has no state.
        updated = {name.rpartition(".")[0] for name in shapes}
        for prefix, _, parameter in self._parameters():
            if prefix in updated:
                parameter.grad = torch.zeros_like(parameter)
        for optimizer in self.optimizers.values():
            optimizer.create_states()

    def _parameters(self) -> Iterator[tuple[str, MuonAdamW, nn.Parameter]]:
        """Yields state name, optimizer and parameter; frozen parameters have no optimizer."""
        for group, optimizer in self.optimizers.items():
            for name in self.groups[group].modules:
                for key, parameter in self.modules[name].named_parameters():
                    if parameter.requires_grad:
                        yield f"optimizers.{group}.{name}.{key}", optimizer, parameter
