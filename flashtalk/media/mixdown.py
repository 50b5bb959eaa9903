"""Mixes any number of channels to one: their mean, or the loudest if they cancel each other.

If a microphone has inverted polarity, one channel is the negative of the other, and their mean is
silence. The energy of the mean shows this: for uncorrelated channels it is the sum of their
energies divided by the square of their number; if it is far lower, they cancel. The decision is
made for a tenth of a second at a time, and gains change in a short ramp to avoid clicks.

Legend: C channels, S samples.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np

from flashtalk.arrays import Pcm

_BLOCK_S, _RAMP_S = 0.1, 0.01
# Two simultaneous voices may be that low for one block by chance.
_CANCELS_BELOW, _MAY_CANCEL_BELOW, _ADDS_UP_ABOVE = 0.15, 0.22, 0.6
_CANCELLING_BLOCKS = 2
_ADDING_BLOCKS = 5
# One voice among many silent channels: a mean 20 dB below it is practically silent.
_FAINT = 0.01
_LOUDER = 10.0
_SILENT_POWER = 1e-8  # -80 dB of full scale
_FULL_SCALE = {"u1": 2**7, "i2": 2**15, "i4": 2**31, "i8": 2**63}
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


class Mixdown:
    """Mixes the channels of one track to one channel.

    Args:
        channels: number of channels.
        pcm_hz: samples per second.
    """

    def __init__(self, channels: int, pcm_hz: int) -> None:
        self._block = max(round(_BLOCK_S * pcm_hz), 1)
        self._ramp = max(round(_RAMP_S * pcm_hz), 1)
        self._mean_C = np.full(channels, 1 / channels, np.float32)
        self._gains_C, self._chosen = self._mean_C, -1
        self._adding, self._cancelling, self._sounded = 0, 0, False
        self._held: list[Pcm] = []
        self._length = 0

    def push(self, pcm_CS: Pcm) -> Iterator[Pcm]:
        """Mixes float32 [C, S] to [S]; buffers less than a block."""
        if len(self._mean_C) == 1:
            yield pcm_CS[0]
            return
        self._held.append(pcm_CS)
        self._length += pcm_CS.shape[1]
        if self._length < self._block:
            return
        joined_CS = np.ascontiguousarray(np.concatenate(self._held, axis=1))
        whole = self._length // self._block * self._block
        for first in range(0, whole, self._block):
            yield self._mixed(joined_CS[:, first : first + self._block])
        self._held, self._length = [joined_CS[:, whole:]], self._length - whole

    def flush(self) -> Iterator[Pcm]:
        """Yields the buffered rest."""
        if self._length:
            yield self._mixed(np.concatenate(self._held, axis=1))
        self._held, self._length = [], 0

    def _mixed(self, pcm_CS: Pcm) -> Pcm:
        before_C, sounded = self._gains_C, self._sounded
        with np.errstate(over="ignore", invalid="ignore"):  # samples may have any value
            self._judge(pcm_CS)
        if self._gains_C is before_C:
            return before_C @ pcm_CS
        mixed_S = self._gains_C @ pcm_CS
        ramp = min(self._ramp, len(mixed_S))
        if sounded and ramp:
            rising_S = np.linspace(0, 1, ramp, endpoint=False, dtype=np.float32)
            falling_S = (1 - rising_S) * (before_C @ pcm_CS[:, :ramp])
            mixed_S[:ramp] = rising_S * mixed_S[:ramp] + falling_S
        return mixed_S

    def _judge(self, pcm_CS: Pcm) -> None:
        """Selects the gains for a block."""
        power_C = np.einsum("cs,cs->c", pcm_CS, pcm_CS).astype(np.float64) / pcm_CS.shape[1]
        loudest = int(power_C.argmax())
        self._sounded = bool(power_C[loudest] > _SILENT_POWER)
        if not self._sounded:
            return
        mean_S = self._mean_C @ pcm_CS
        mean_power = float(np.dot(mean_S, mean_S)) / len(mean_S)
        share = mean_power * len(power_C) ** 2 / power_C.sum()
        faint = power_C[loudest] * _FAINT / mean_power if mean_power else np.inf
        self._cancelling = self._cancelling + 1 if share < _MAY_CANCEL_BELOW else 0
        cancels = share < _CANCELS_BELOW or self._cancelling >= _CANCELLING_BLOCKS
        if self._chosen < 0 and not cancels and faint <= 1:
            return
        adds_up = share > _ADDS_UP_ABOVE and faint < 1 / 2
        self._adding = self._adding + 1 if adds_up else 0
        if self._adding >= _ADDING_BLOCKS:
            self._chosen, self._adding, self._gains_C = -1, 0, self._mean_C
        elif self._chosen < 0 or power_C[loudest] > _LOUDER * power_C[self._chosen]:
            self._chosen = loudest
            self._gains_C = np.eye(len(power_C), dtype=np.float32)[loudest]


def samples_of(frame: av.AudioFrame) -> Pcm:
    """Converts a decoded frame of any format to float32 [C, S]; full scale is 1."""
    channels = frame.layout.nb_channels
    dtype = _TYPES[frame.format.packed.name]
    planes = channels if frame.format.is_planar else 1
    width = frame.samples * channels // planes
    raw = [np.frombuffer(memoryview(frame.planes[plane]), dtype, width) for plane in range(planes)]
    pcm_CS = np.stack(raw) if frame.format.is_planar else raw[0].reshape(-1, channels).T
    if dtype == "u1":
        pcm_CS = pcm_CS.astype(np.float32) - _FULL_SCALE[dtype]
    if dtype in _FULL_SCALE:
        return pcm_CS.astype(np.float32) / np.float32(_FULL_SCALE[dtype])
    with np.errstate(over="ignore"):  # too large values become infinite and are rejected
        return pcm_CS.astype(np.float32)
