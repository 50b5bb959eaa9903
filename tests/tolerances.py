"""How far apart results may lie that are equal in real numbers, and why.

Only the same call with the same shapes gives equal bits (a replay, a retry, a failover). Everything
else may run other kernels, which add the same products in another order: streamed or whole, a batch
or its rows, a prefix, slices, several ranks, other threads, another instruction set, another size
of the caches. These bounds come from that arithmetic, not from what one machine showed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

FLOAT32_EPS = 2.0**-23

# Of float32 values of about 1 behind a network. A sum of n products in another order moves by about
# sqrt(n) eps, and L layers of such sums walk at random: sqrt(L * n) eps. The networks of the tests
# stay below 100 layers of 2,600 products.
ROUNDED_SUMS = 512 * FLOAT32_EPS

# Against numbers up to 2 that the published code recorded in float32: it rounds as we do.
PUBLISHED = 1e-4

# A bfloat16 of 8 bits and its neighbour, of which either is right for a number between them.
BFLOAT16_STEP = 2.0**-7

# A byte is cut off from a value of 127.5 levels for 1: rounding moves it over the edge, one level,
# as often as the edge lies within its reach.
BYTE_LEVELS = 1
SHARE_OF_BYTES = 127.5 * ROUNDED_SUMS


def assert_rounded(found: Tensor, wanted: Tensor, what: str = "") -> None:
    """Float32 results of the same sums in another order."""
    largest = max(1.0, float(wanted.detach().abs().max())) if wanted.numel() else 1.0

    def named(said: str) -> str:
        return f"{what}\n{said}" if what else said

    torch.testing.assert_close(found, wanted, atol=ROUNDED_SUMS * largest, rtol=0, msg=named)


def assert_frames(found: npt.NDArray[np.uint8], wanted: npt.NDArray[np.uint8]) -> None:
    """Frames cut to bytes from such results."""
    assert found.shape == wanted.shape
    levels = np.abs(found.astype(np.int16) - wanted.astype(np.int16))
    assert levels.max(initial=0) <= BYTE_LEVELS
    assert (levels > 0).mean() <= SHARE_OF_BYTES
