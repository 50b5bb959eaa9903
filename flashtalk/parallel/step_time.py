"""Estimates the times of a chunk's stages on several devices from those on one.

This is a model, not a measurement: work is divided by the ranks, smaller matrix products are less
efficient, and communication (``traffic.py``) takes time on the links. The constants below and those
of ``Link`` are fitted to the report's Table 4 (H800, 720x416) and reproduce its rows of 2, 4 and 8
GPUs within 15 % from its row of one. For FlashHead they are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass

from flashtalk.parallel.grid import choose_grid, window
from flashtalk.parallel.layout import Layout, choose_layout, spans
from flashtalk.parallel.picture import DECODE_PAD_CELLS, ENCODE_PAD_CELLS
from flashtalk.parallel.planned import FLASHTALK_14B, PlannedPreset
from flashtalk.parallel.traffic import sent_bytes

_HALF_SPEED_TOKENS = 192
"""Tokens on a device at which matrix products would run at half their speed."""
_SLICED_SLOWER = 1.15
"""Sliced convolutions against whole ones, for the same number of pixels."""
_SLICED_CALL_MS = 5.0
"""Overhead of every call of a sliced VAE."""


@dataclass(frozen=True)
class OneDevice:
    """Milliseconds of a preset on one device, at its published size (``PlannedPreset.size_hw``).

    Args:
        step_ms: one evaluation of the transformer.
        encode_ms, decode_ms: the VAE: the motion frames, all frames of a chunk.
        audio_ms, other_ms: per chunk, on any number of devices.
        planned: the preset.
    """

    step_ms: float
    encode_ms: float
    decode_ms: float
    audio_ms: float = 33.0
    other_ms: float = 26.0
    planned: PlannedPreset = FLASHTALK_14B


REPORT_EAGER = OneDevice(step_ms=1070.0, encode_ms=97.0, decode_ms=988.0)
"""Table 4 of the report, one H800; audio and the rest from its Figure 6."""
REPORT_COMPILED = OneDevice(step_ms=800.0, encode_ms=97.0, decode_ms=988.0)


@dataclass(frozen=True)
class Link:
    """The link between two devices: bandwidth, and minimum time of an exchange."""

    gigabytes_per_s: float = 160.0
    exchange_us: float = 50.0


def step_ms(
    one: OneDevice, ranks: int, size_hw: tuple[int, int], link: Link, layout: Layout | None = None
) -> float:
    """Returns the milliseconds of one evaluation of the transformer on ``ranks`` ranks."""
    planned = one.planned
    network = planned.network
    chosen = layout or choose_layout(ranks, network.num_heads)
    tokens = planned.tokens(size_hw)
    alone_ms = one.step_ms * _work(planned, tokens)
    if ranks == 1:
        return alone_ms
    each = -(-tokens // ranks)
    slower = (1 + _HALF_SPEED_TOKENS / each) / (1 + _HALF_SPEED_TOKENS / tokens)
    compute_ms = alone_ms * each / tokens * slower
    sent_ms = {
        kind: count / link.gigabytes_per_s / 1e6
        for kind, count in sent_bytes(chosen, 0, planned.evaluation(size_hw)).items()
    }
    # A ring sends its blocks during the attention.
    attention_ms = compute_ms * planned.attention_share
    ring_ms = max(0.0, sent_ms.pop("ring", 0.0) - attention_ms)
    exchanges = network.num_layers * ((4 if chosen.ulysses > 1 else 0) + chosen.ring - 1)
    return compute_ms + sum(sent_ms.values()) + ring_ms + exchanges * link.exchange_us / 1e3


def vae_ms(
    one: OneDevice, ranks: int, size_hw: tuple[int, int], *, decode: bool, exact: bool = True
) -> float:
    """Returns the milliseconds of decoding a chunk or encoding its motion frames.

    Args:
        one: on one device.
        ranks: of the pod; a VAE that cannot be sliced takes the same time on each of them.
        size_hw: pixels.
        decode: False for the motion frames.
        exact: False uses the published windows, which overlap, as in the report's measurements.
    """
    alone_ms = one.decode_ms if decode else one.encode_ms
    stride, own_hw = one.planned.spec.vae_stride_hw, one.planned.size_hw
    cells = size_hw[0] // stride, size_hw[1] // stride
    alone_ms *= cells[0] * cells[1] / (own_hw[0] * own_hw[1]) * stride**2
    if ranks == 1 or not one.planned.sliced_vae:
        return alone_ms
    grid = choose_grid(ranks, cells)
    pad = 0 if exact else DECODE_PAD_CELLS if decode else ENCODE_PAD_CELLS
    share = 1.0
    for parts, total in ((grid.rows, cells[0]), (grid.columns, cells[1])):
        windows = [window(span, total, pad) for span in spans(total, parts)]
        share *= max(end - begin for begin, end in windows) / total
    return alone_ms * share * _SLICED_SLOWER + _SLICED_CALL_MS


def _work(planned: PlannedPreset, tokens: int) -> float:
    """Returns the work of one evaluation, relative to that at the published size."""
    ratio = tokens / planned.tokens(planned.size_hw)
    return (1 - planned.attention_share) * ratio + planned.attention_share * ratio**2
