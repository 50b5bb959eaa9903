"""The shared part of every recipe: length, optimizer, schedule, checkpoints."""

import math
from dataclasses import dataclass
from typing import Literal

from flashtalk.errors import InputError


@dataclass(frozen=True)
class Gate:
    """Stops a run that does not learn or that collapses.

    Args:
        step: checked from this step on.
        metric: of an evaluation; a missing one counts as missed.
        minimum, maximum: bounds of the metric.
        means: meaning of a miss, for the message.
        at_end: the last evaluation is checked even if the run is shorter than ``step``; a miss
            prevents the export. For errors at any time, not for slow progress.
    """

    step: int
    metric: str
    minimum: float = -math.inf
    maximum: float = math.inf
    means: str = "the training does not converge"
    at_end: bool = False

    def missed(self, value: float) -> str:
        """Returns why a value misses the gate, or an empty text. A NaN always misses."""
        if not value >= self.minimum:
            return f"below {self.minimum:g}: {self.means}"
        if not value <= self.maximum:
            return f"above {self.maximum:g}: {self.means}"
        return ""


@dataclass(frozen=True)
class Target:
    """Targets of the finished model; reported at the end, never fatal."""

    metric: str
    minimum: float


@dataclass(frozen=True)
class TrainerConfig:
    """The generic part of a recipe.

    ``schedule_by="time"`` spreads warm-up and decay over ``minutes`` of wall clock, so that the
    decay ends with the budget; ``"steps"`` spreads them over ``steps``, and a resumed run repeats
    an uninterrupted one exactly. ``minutes`` 0 means no time limit. With ``optimizer="muon"``,
    ``muon_lr`` is the peak rate of the matrices inside the submodules ``muon_inside``; ``lr`` is
    that of all other parameters.
    """

    steps: int = 1_000
    minutes: float = 0.0
    schedule_by: Literal["steps", "time"] = "steps"
    decay: Literal["cosine", "constant"] = "cosine"
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    muon_lr: float = 0.03
    muon_momentum: float = 0.95
    muon_inside: tuple[str, ...] = ("blocks",)
    lr_floor: float = 0.02
    warmup: float = 0.03
    betas: tuple[float, ...] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    checkpoint_every_s: float = 120.0
    checkpoint_every_steps: int = 0
    evaluate_every_s: float = 180.0
    evaluate_every_steps: int = 0
    log_every_steps: int = 10
    gates: tuple[Gate, ...] = ()
    targets: tuple[Target, ...] = ()
    gates_on: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError("steps", self.steps, "must be at least 1")
        if self.schedule_by == "time" and self.minutes <= 0:
            raise InputError("minutes", self.minutes, "must be > 0 when schedule_by=time")
        if len(self.betas) != 2:
            raise InputError("betas", self.betas, "must be two numbers")
        for field, low in (("lr", 0.0), ("threads", 1), ("log_every_steps", 1)):
            if getattr(self, field) < low:
                raise InputError(field, getattr(self, field), f"must be >= {low}")
        if not 0 <= self.warmup < 1:
            raise InputError("warmup", self.warmup, "must be a fraction of the run, 0 <= w < 1")
        if not 0 <= self.ema_decay < 1:
            raise InputError("ema_decay", self.ema_decay, "must be 0 (off) <= d < 1")
