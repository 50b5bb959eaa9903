"""The planner's default times of one device: the report's, or what FlashHead's authors claim.

FlashHead has no published times of its stages, only frames per second on one GPU. Its defaults
divide the time of a chunk at that rate by the counted operations of each stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flashtalk.parallel.planned import (
    FLASHHEAD_LTX,
    FLASHHEAD_PRO,
    FLASHTALK_14B,
    PlannedPreset,
)
from flashtalk.parallel.step_time import REPORT_COMPILED, Link, OneDevice

PUBLISHED_STEPS = 4
_PCIE = Link(gigabytes_per_s=20.0, exchange_us=50.0)
"""Two consumer GPUs without NVLink, through the host: assumed, not measured."""


@dataclass(frozen=True)
class ChunkWork:
    """Operations of a chunk in TFLOP, as ``engine.stage_work`` counts them at 512x512.

    Args:
        step: one evaluation of the transformer.
        encode, decode: the VAE.
        speech: the speech encoder, and the network's tokens of speech.
    """

    step: float
    encode: float
    decode: float
    speech: float

    @property
    def chunk(self) -> float:
        """Returns the sum, with four evaluations."""
        return PUBLISHED_STEPS * self.step + self.encode + self.decode + self.speech


PRO_WORK = ChunkWork(step=38.763, encode=7.042, decode=73.890, speech=0.159)
LITE_WORK = ChunkWork(step=3.512, encode=2.104, decode=7.714, speech=0.123)


@dataclass(frozen=True)
class DeviceTimes:
    """Default times of a preset.

    Args:
        one: on one device.
        link: between devices.
        source: where they are from, in one sentence.
    """

    one: OneDevice
    link: Link
    source: str


def _claimed(planned: PlannedPreset, work: ChunkWork, fps: float) -> DeviceTimes:
    """Returns the times at a claimed rate, in equal TFLOP per second for all stages.

    The claim includes everything that a chunk takes, so nothing is left for ``other_ms``.
    """
    chunk_ms = 1e3 * planned.spec.new_frames / fps
    ms = chunk_ms / work.chunk
    one = OneDevice(
        step_ms=ms * work.step,
        encode_ms=ms * work.encode,
        decode_ms=ms * work.decode,
        audio_ms=ms * work.speech,
        other_ms=0.0,
        planned=planned,
    )
    source = (
        f"the authors' claim of {fps:g} frames/s on one RTX 4090, divided by the counted work of "
        f"the stages ({1e3 / ms:.0f} TFLOP/s); not measured by this project"
    )
    return DeviceTimes(one, _PCIE, source)


DEVICE_TIMES: Mapping[str, DeviceTimes] = {
    FLASHTALK_14B.name: DeviceTimes(
        REPORT_COMPILED, Link(), "the report's H800, compiled; not measured by this project"
    ),
    FLASHHEAD_PRO.name: _claimed(FLASHHEAD_PRO, PRO_WORK, 10.8),
    FLASHHEAD_LTX.name: _claimed(FLASHHEAD_LTX, LITE_WORK, 96.0),
}
