"""The shared part of every recipe: schedule, optimizer, cadence, gates and targets."""

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
class MetricTarget:
    """Target of a metric of the finished model; reported at the end, never fatal."""

    metric: str
    minimum: float


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer.

    Args:
        name: ``muon`` moves the matrices inside the submodules ``muon_inside``, and AdamW the rest.
        lr, muon_lr: peak learning rates of AdamW and of Muon.
        muon_momentum: of Muon. betas: the two of AdamW.
        weight_decay: of both.
        clip_norm: larger norms of the gradient are scaled to this one.
    """

    name: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    muon_lr: float = 0.03
    muon_momentum: float = 0.95
    muon_inside: tuple[str, ...] = ("blocks",)

    def __post_init__(self) -> None:
        if self.lr < 0 or (self.name == "muon" and self.lr == 0):
            raise InputError("lr", self.lr, "must be >= 0, and with muon > 0")
        if len(self.betas) != 2:
            raise InputError("betas", self.betas, "must be two numbers")


@dataclass(frozen=True)
class ScheduleConfig:
    """The length of a run, and its learning rates.

    Args:
        by: ``time`` spreads warm-up and decay over ``minutes`` of wall clock, so that the decay
            ends with them; ``steps`` spreads them over ``steps``, and a resumed run repeats an
            uninterrupted one exactly.
        steps: length by steps.
        minutes: length by time, and the limit of any run; 0: no limit.
        warmup_ratio: share of the run in which the learning rate rises.
        decay: of the learning rate after it.
        min_lr_ratio: last learning rate of a cosine over the peak.
    """

    by: Literal["steps", "time"] = "steps"
    steps: int = 1_000
    minutes: float = 0.0
    warmup_ratio: float = 0.03
    decay: Literal["cosine", "constant"] = "cosine"
    min_lr_ratio: float = 0.02

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError("steps", self.steps, "must be at least 1")
        if self.by == "time" and self.minutes <= 0:
            raise InputError("minutes", self.minutes, "must be > 0 when schedule.by=time")
        if not 0 <= self.warmup_ratio < 1:
            raise InputError("warmup_ratio", self.warmup_ratio, "must be 0 <= w < 1")

    def completed(self, step: int, elapsed_s: float) -> float:
        """Returns the completed fraction of the run, 0..1."""
        if self.by == "time":
            return min(1.0, elapsed_s / (60.0 * self.minutes))
        return min(1.0, step / self.steps)

    def lr_ratio(self, completed: float) -> float:
        """Returns the learning rate over its peak, at a completed fraction of the run."""
        if completed < self.warmup_ratio:
            # Never exactly zero: the first step would have no effect.
            return max(completed / self.warmup_ratio, 0.02)
        if self.decay == "constant":
            return 1.0
        decayed = (completed - self.warmup_ratio) / (1.0 - self.warmup_ratio)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, decayed)))
        return self.min_lr_ratio + (1.0 - self.min_lr_ratio) * cosine


@dataclass(frozen=True)
class Every:
    """An interval in seconds, in steps, or whichever of them ends first; 0: not by this one."""

    seconds: float = 0.0
    steps: int = 0

    def is_over(self, seconds: float, steps: int) -> bool:
        """Whether it has ended after this time and number of steps."""
        return 0 < self.seconds <= seconds or 0 < self.steps <= steps


@dataclass(frozen=True)
class CadenceConfig:
    """How often a run writes checkpoints, evaluates (and samples videos), and logs scalars."""

    checkpoint: Every = Every(seconds=120.0)
    evaluate: Every = Every(seconds=180.0)
    log_every_steps: int = 10

    def __post_init__(self) -> None:
        if self.log_every_steps < 1:
            raise InputError("log_every_steps", self.log_every_steps, "must be >= 1")


@dataclass(frozen=True)
class TrainerConfig:
    """The part that every recipe has.

    Args:
        schedule, optimizer, cadence: length and rates, the optimizer, and what happens how often.
        ema_decay: of the averaged weights; 0: no averaging.
        seed: of all random numbers.
        threads: of this process.
        device: ``cpu`` or ``cuda``.
        gates: that stop the run, if ``gates_on``.
        targets: of the finished model.
    """

    schedule: ScheduleConfig = ScheduleConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    cadence: CadenceConfig = CadenceConfig()
    ema_decay: float = 0.999
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    gates: tuple[Gate, ...] = ()
    targets: tuple[MetricTarget, ...] = ()
    gates_on: bool = True

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError("threads", self.threads, "must be >= 1")
        if not 0 <= self.ema_decay < 1:
            raise InputError("ema_decay", self.ema_decay, "must be 0 (off) <= d < 1")
