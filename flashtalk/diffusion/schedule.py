"""Noise levels of the sampler (report section 3.3; published sampler).

A noise level sigma in [0, 1] mixes ``(1 - sigma) * x0 + sigma * eps``; the network's input is the
timestep ``1000 * sigma``.
"""

from __future__ import annotations

import numpy as np

from flashtalk.errors import InputError

TRAIN_STEPS = 1000
DEFAULT_SHIFT = 5.0

# The step counts for which the student was distilled have round unshifted timesteps.
_DISTILLED = {4: (1000.0, 750.0, 500.0, 250.0), 2: (1000.0, 500.0)}


def timesteps(steps: int, shift: float = DEFAULT_SHIFT) -> tuple[float, ...]:
    """Returns the timesteps of ``steps`` network evaluations, descending from 1000, and a final 0.

    Args:
        steps: network evaluations: 4 or 2 as distilled, others evenly spaced from 1000 to 1.
        shift: a of ``a u / (1 + (a - 1) u)``; above 1 it spends more steps at high noise.

    Returns:
        ``steps + 1`` float32 values as Python floats.

    Raises:
        InputError: ``steps`` below 1 or ``shift`` not positive.
    """
    if steps < 1:
        raise InputError("steps", steps, "at least 1")
    if not 0 < shift < float("inf"):
        raise InputError("shift", shift, "positive and finite")
    plain = _DISTILLED.get(steps)
    t = np.asarray(np.linspace(TRAIN_STEPS, 1, steps) if plain is None else plain, dtype=np.float32)
    # float32 as in the published table, so that the network gets the same numbers.
    u = t / np.float32(TRAIN_STEPS)
    a = np.float32(shift)
    warped = a * u / (1 + (a - 1) * u) * np.float32(TRAIN_STEPS)
    return (*warped.tolist(), 0.0)


def sigmas(steps: int, shift: float = DEFAULT_SHIFT) -> tuple[float, ...]:
    """Returns the noise levels of ``steps`` evaluations, descending from 1, and a final 0.

    They are ``timesteps`` divided by 1000; same arguments and errors.
    """
    return tuple(t / TRAIN_STEPS for t in timesteps(steps, shift))
