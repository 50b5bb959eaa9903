"""The planner's constants are what ``stage_work`` counts at the published sizes."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from flashtalk.engine import FlashHeadArchitecture
from flashtalk.engine.stage_work import (
    decode_work,
    dit_speech_work,
    dit_step_work,
    encode_work,
    speech_work,
)
from flashtalk.engine.work import Work
from flashtalk.models.flashhead import FlashHeadConfig
from flashtalk.parallel.device_times import LITE_WORK, PRO_WORK, ChunkWork
from flashtalk.parallel.planned import FLASHHEAD_LTX, FLASHHEAD_PRO, PlannedPreset
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE

SIZES = {
    FLASHHEAD: FlashHeadArchitecture.pro(),
    FLASHHEAD_LITE: FlashHeadArchitecture.lite(),
}
HALF = torch.bfloat16
TFLOP = 1e12


def of_all_blocks(network: FlashHeadConfig, count: Callable[[FlashHeadConfig], Work]) -> Work:
    """Every block has the same work, so two depths give that of all."""
    one, two = (count(dataclasses.replace(network, num_layers=layers)) for layers in (1, 2))
    more = network.num_layers - 1

    def extended(field: str) -> int:
        alone: int = getattr(one, field)
        both: int = getattr(two, field)
        return alone + more * (both - alone)

    return Work(**{field.name: extended(field.name) for field in dataclasses.fields(Work)})


@pytest.mark.parametrize(
    ("planned", "work"),
    [(FLASHHEAD_PRO, PRO_WORK), (FLASHHEAD_LTX, LITE_WORK)],
    ids=["pro", "lite"],
)
def test_the_planner_calculates_with_the_counted_work(
    planned: PlannedPreset, work: ChunkWork
) -> None:
    sizes, spec, size_hw = SIZES[planned.name], planned.spec, planned.size_hw
    network = sizes.network
    assert planned.network == network
    step = of_all_blocks(network, lambda shallow: dit_step_work(shallow, spec, size_hw, HALF))
    tokens = of_all_blocks(network, lambda shallow: dit_speech_work(shallow, spec, HALF))
    speech = tokens.flops + speech_work(sizes.audio, spec).flops
    found = ChunkWork(
        step=step.flops / TFLOP,
        encode=encode_work(sizes.vae, spec, size_hw, HALF).flops / TFLOP,
        decode=decode_work(sizes.vae, spec, size_hw, HALF).flops / TFLOP,
        speech=speech / TFLOP,
    )
    for field in dataclasses.fields(ChunkWork):
        counted = getattr(found, field.name)
        assert getattr(work, field.name) == pytest.approx(counted, abs=1e-3), field.name
    assert planned.attention_share == pytest.approx(step.attention_flops / step.flops, abs=1e-3)
