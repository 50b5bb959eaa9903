"""bfloat16 only where it saves time."""

from dataclasses import dataclass

import pytest
import torch

from training.core.native_bf16 import has_native_bf16, without_slow_bf16


@dataclass(frozen=True)
class Fields:
    bf16: bool = True


@pytest.mark.parametrize("native", [True, False])
def test_a_cpu_without_bfloat16_computes_in_float32(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert has_native_bf16(torch.device("cpu")) == native
    assert without_slow_bf16(Fields(), torch.device("cpu")).bf16 == native
    assert without_slow_bf16(Fields(), torch.device("cuda")).bf16
    assert not without_slow_bf16(Fields(bf16=False), torch.device("cuda")).bf16
