"""Self-correcting distillation: one update of the student, one of the fake score.

Report section 4.2; training specification 2.1 to 2.5. Three networks of one architecture: the
student, which moves towards where the real score differs from the fake one; the fake score, which
follows the student's latents; the real score, frozen and guided.

Legend: B batch, K chunks, C latent channels, F latent frames, M motion latents, h w latent size,
N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashtalk.diffusion.condition import reference_condition
from flashtalk.diffusion.sample import VelocityFn
from flashtalk.diffusion.schedule import sigmas
from flashtalk.models.dit.model import DiT
from training.core.draws import SharedDraws
from training.data.stage2_batch import Stage2Batch
from training.distill.rollout import (
    Exit,
    ExitOdds,
    Handover,
    Previous,
    Rolled,
    roll_out,
)
from training.distill.scores import Conditions, Guidance, guided_velocity, velocity
from training.losses.dmd import (
    MotionPolicy,
    NoiseDraw,
    draw_noise,
    fake_loss,
    matching_gradient,
    matching_loss,
    predicted_x0,
    scorer_input,
)
from training.losses.motion_jitter import MotionJitter


@dataclass(frozen=True)
class MatchingConfig:
    """How the student is corrected.

    Args:
        exits: how far it is rolled out.
        previous: how the chunks before the last are made (``rollout.Previous``).
        jitter: errors in the motion latents that the student is handed.
        policy: what scorers see of the motion latents.
        guidance: of the real score.
        shift: of the noise levels, the sampler's and the scorers'.
    """

    exits: ExitOdds = field(default_factory=ExitOdds)
    previous: Previous = "full"
    jitter: MotionJitter = field(default_factory=MotionJitter)
    policy: MotionPolicy = field(default_factory=MotionPolicy)
    guidance: Guidance = field(default_factory=Guidance)
    shift: float = 5.0


@dataclass(frozen=True)
class Prompts:
    """Text tokens of a batch [B, N, D], and of the empty prompt."""

    text_BND: Tensor
    empty_BND: Tensor


class Matching:
    """The two losses over three networks; keeps nothing between calls.

    Args:
        config: see there.
        student, fake, real: the networks.
        handover: motion latents after a chunk.
        bf16: compute in bfloat16 with the weights as they are.
    """

    def __init__(
        self,
        config: MatchingConfig,
        student: DiT,
        fake: DiT,
        real: DiT,
        handover: Handover,
        *,
        bf16: bool = False,
    ) -> None:
        self.config = config
        self.student, self.fake, self.real = student, fake, real
        self._handover, self._bf16 = handover, bf16
        self._sigmas = sigmas(config.exits.steps, config.shift)

    def student_losses(
        self, batch: Stage2Batch, prompts: Prompts, at: Exit, draws: SharedDraws
    ) -> Mapping[str, Tensor]:
        """The loss whose gradient moves the student, and how far the scores are apart."""
        policy = self.config.policy
        rolled = self.roll_out(batch, prompts, at, draws, graph=True)
        x0 = rolled.raw_BCFHW if policy.calc_loss else rolled.x0_BCFHW
        motion = rolled.motion_BCMHW.shape[2]
        with torch.no_grad():
            given = self._conditions(batch, prompts, rolled.chunk)
            drawn = draw_noise(tuple(x0.shape), policy, draws, self.config.shift)
            fake = self._fake_x0(x0.detach(), motion, drawn, given)
            real = self._real_x0(x0.detach(), batch, rolled, drawn, given, prompts)
            gradient = matching_gradient(x0, fake, real, motion)
            apart = (x0 - real)[:, :, motion:].abs().mean()
        loss = matching_loss(x0, gradient, motion, policy)
        return {"loss": loss, "distance": apart, "gradient": gradient[:, :, motion:].abs().mean()}

    def fake_losses(
        self, batch: Stage2Batch, prompts: Prompts, at: Exit, draws: SharedDraws
    ) -> Mapping[str, Tensor]:
        """The loss that keeps the fake score on the student's heels."""
        x0, motion, given = self._students_chunk(batch, prompts, at, draws)
        drawn = draw_noise(tuple(x0.shape), self.config.policy, draws, self.config.shift)
        x = scorer_input(x0, x0[:, :, :motion], drawn)
        v = velocity(self.fake, x, drawn.sigma_B, given, bf16=self._bf16)
        return {"loss": fake_loss(v, x0, drawn.noise_BCFHW, motion)}

    @torch.no_grad()
    def fake_lag(
        self, batch: Stage2Batch, prompts: Prompts, at: Exit, draws: SharedDraws
    ) -> tuple[float, float]:
        """Losses of the fake and of the unguided real score on the same latents of the student.

        The fake has to know them better, else the student is sent astray.
        """
        x0, motion, given = self._students_chunk(batch, prompts, at, draws)
        drawn = draw_noise(tuple(x0.shape), self.config.policy, draws, self.config.shift)
        x = scorer_input(x0, x0[:, :, :motion], drawn)
        losses = [
            float(
                fake_loss(
                    velocity(net, x, drawn.sigma_B, given, bf16=self._bf16),
                    x0, drawn.noise_BCFHW, motion,
                )
            )
            for net in (self.fake, self.real)
        ]  # fmt: skip
        return losses[0], losses[1]

    def roll_out(
        self,
        batch: Stage2Batch,
        prompts: Prompts,
        at: Exit,
        draws: SharedDraws,
        *,
        graph: bool,
    ) -> Rolled:
        """The student's own chunks up to the exit."""

        def velocity_of(chunk: int) -> VelocityFn:
            given = self._conditions(batch, prompts, chunk)
            return lambda x, sigma: velocity(
                self.student, x, torch.full((len(x),), sigma), given, bf16=self._bf16
            )

        return roll_out(
            velocity_of, batch.motion_BCMHW, tuple(batch.reference_BCFHW.shape), self._sigmas,
            at, self._handover, draws, previous=self.config.previous, jitter=self.config.jitter,
            graph=graph,
        )  # fmt: skip

    @torch.no_grad()
    def _students_chunk(
        self, batch: Stage2Batch, prompts: Prompts, at: Exit, draws: SharedDraws
    ) -> tuple[Tensor, int, Conditions]:
        rolled = self.roll_out(batch, prompts, at, draws, graph=False)
        x0 = rolled.raw_BCFHW if self.config.policy.calc_loss else rolled.x0_BCFHW
        given = self._conditions(batch, prompts, rolled.chunk)
        return x0, rolled.motion_BCMHW.shape[2], given

    def _fake_x0(self, x0: Tensor, motion: int, drawn: NoiseDraw, given: Conditions) -> Tensor:
        x = scorer_input(x0, x0[:, :, :motion], drawn)
        v = velocity(self.fake, x, drawn.sigma_B, given, bf16=self._bf16)
        return predicted_x0(x, v, drawn.sigma_B)

    def _real_x0(
        self,
        x0: Tensor,
        batch: Stage2Batch,
        rolled: Rolled,
        drawn: NoiseDraw,
        given: Conditions,
        prompts: Prompts,
    ) -> Tensor:
        motion = rolled.motion_BCMHW.shape[2]
        held = x0[:, :, :motion]
        if self.config.policy.source == "gt":
            held = batch.true_motion_BKCMHW[:, rolled.chunk, :, :motion]
        x = scorer_input(x0, held, drawn)
        v = guided_velocity(
            self.real, x, drawn.sigma_B, given, prompts.empty_BND, self.config.guidance,
            bf16=self._bf16,
        )  # fmt: skip
        return predicted_x0(x, v, drawn.sigma_B)

    def _conditions(self, batch: Stage2Batch, prompts: Prompts, chunk: int) -> Conditions:
        return Conditions(
            reference_condition(batch.reference_BCFHW),
            batch.clip_BND,
            prompts.text_BND,
            batch.speech_BKTWLD[:, chunk],
        )
