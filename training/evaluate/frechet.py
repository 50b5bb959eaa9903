"""A Fréchet distance between the frames of videos and the same people drawn in the same poses.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), equation 6, on the last hidden
layer of the identity probe instead of Inception's: it was trained to ignore blur, noise and motion,
and reacts to wrong parts in hair, face or clothes.

Against the true clips of the same people the distance would be mostly motion: with a few hundred
frames each, even two true clips of a person are far apart.  So the reference is the renderer's
drawing of each frame's own pose (``redrawn``).  People differ more than pictures do, so every
clip is centred on its drawing.  The unit is the spread of true frames inside their clips, which is
the same for all models.

Legend: T frames, D numbers of the hidden layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flashtalk.arrays import DoubleArray, FloatArray, RealArray
from training.evaluate.probes import Probes
from training.evaluate.redrawn import Redrawn


@dataclass(frozen=True)
class Looks:
    """Hidden numbers [T, D] of a video's frames and of their drawings; T is 0 without drawings."""

    frames_TD: FloatArray
    drawn_TD: FloatArray

    @cached_property
    def moments(self) -> tuple["FeatureMoments", "FeatureMoments"]:
        """Returns the numbers of frames and drawings, both centred on the drawings' mean."""
        middle_D = self.drawn_TD.mean(axis=0)
        return FeatureMoments.of(self.frames_TD - middle_D), FeatureMoments.of(
            self.drawn_TD - middle_D
        )

    @cached_property
    def spread(self) -> float:
        """Returns the summed variance of the frames inside this clip."""
        return float(self.frames_TD.astype(np.float64).var(axis=0).sum())


@dataclass(frozen=True)
class FeatureMoments:
    """Sums for mean and covariance; those of several clips can be added."""

    count: int
    sum_D: DoubleArray
    square_DD: DoubleArray

    @classmethod
    def of(cls, numbers_TD: RealArray) -> "FeatureMoments":
        """Computes the sums of rows."""
        x_TD = numbers_TD.astype(np.float64)
        return cls(len(x_TD), x_TD.sum(axis=0), x_TD.T @ x_TD)

    def __add__(self, other: "FeatureMoments") -> "FeatureMoments":
        return FeatureMoments(
            self.count + other.count, self.sum_D + other.sum_D, self.square_DD + other.square_DD
        )

    @property
    def mean_D(self) -> DoubleArray:
        """Mean of all rows."""
        return self.sum_D / self.count

    @property
    def covariance_DD(self) -> DoubleArray:
        """Covariance of all rows, divided by their number."""
        return self.square_DD / self.count - np.outer(self.mean_D, self.mean_D)


def looks_of(redrawn: Redrawn | None, probes: Probes) -> Looks:
    """Returns the probe's hidden numbers of the frames and their drawings."""
    if redrawn is None:
        nothing_TD = np.zeros((0, probes.person.config.hidden), np.float32)
        return Looks(nothing_TD, nothing_TD)
    return Looks(probes.look(redrawn.frames_THWC), probes.look(redrawn.drawn_THWC))


def picture_distance(looks: Sequence[Looks], truth: Sequence[Looks]) -> float:
    """Returns the Fréchet distance of all frames to all drawings, in units of the truth's spread.

    With few frames it is too large (``bootstrap.debiased``).  NaN if drawings are missing.
    """
    if not looks or not all(len(one.drawn_TD) for one in (*looks, *truth)):
        return float("nan")
    pairs = [one.moments for one in looks]
    frames, drawn = pairs[0]
    for more_frames, more_drawn in pairs[1:]:
        frames, drawn = frames + more_frames, drawn + more_drawn
    unit = float(np.mean([one.spread for one in truth]))
    return frechet_distance(frames, drawn) / unit if unit > 0 else float("nan")


def frechet_distance(one: FeatureMoments, other: FeatureMoments) -> float:
    """``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` of two normal distributions."""
    first_DD, second_DD = one.covariance_DD, other.covariance_DD
    # tr (C1 C2)^(1/2) = sum of the roots of the eigenvalues of R C2 R with R R = C1, which is
    # symmetric: no complex numbers, also if a covariance is singular.
    values_D, vectors_DD = np.linalg.eigh(first_DD)
    root_DD = (vectors_DD * np.sqrt(values_D.clip(min=0))) @ vectors_DD.T
    common = np.sqrt(np.linalg.eigvalsh(root_DD @ second_DD @ root_DD).clip(min=0)).sum()
    shift = float(((one.mean_D - other.mean_D) ** 2).sum())
    return max(0.0, shift + float(np.trace(first_DD) + np.trace(second_DD) - 2 * common))
