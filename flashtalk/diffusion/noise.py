"""Gaussian noise as a function of (seed, chunk, step): every worker draws the same numbers.

A worker that takes over a session needs no generator state, only these three numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flashtalk.bounds import check_between, check_seed

_COUNT_LIMIT = 2**32


def chunk_noise(
    seed: int,
    chunk: int,
    step: int,
    shape: tuple[int, ...],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Returns the standard normal noise of one draw.

    The counter-based Philox generator takes the three numbers as its 128-bit key, so different
    numbers never share a stream. Drawn on the CPU, so that it does not depend on the GPU model.

    Args:
        seed: of the session, 0 .. 2^64 - 1.
        chunk: index of the chunk, 0 .. 2^32 - 1.
        step: 0 is the chunk's initial noise, n the re-noising after the n-th evaluation;
            0 .. 2^32 - 1.
        shape: of the result.
        device: device of the result.

    Returns:
        float32 tensor of ``shape`` on ``device``, bit-identical for equal arguments.

    Raises:
        InputError: a number is out of range.
    """
    check_seed(seed)
    check_between("chunk", chunk, 0, _COUNT_LIMIT - 1)
    check_between("step", step, 0, _COUNT_LIMIT - 1)
    key = np.array([seed, chunk * _COUNT_LIMIT + step], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    noise = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
    if torch.device(device).type != "cuda":
        return noise.to(device)
    # A copy from pinned memory does not block the host.
    return noise.pin_memory().to(device, non_blocking=True)
