"""A VAE without a parallel form on the ranks of a pod: refused before weights are read."""

from __future__ import annotations

from typing import Any

import pytest

from flashtalk.errors import InputError
from services.pod.group import Solo
from services.vae_decoder.pod import Slicing, coding
from services.vae_decoder.settings import VaeDecoderSettings


class Ranks(Solo):
    """A group of so many ranks."""

    def __init__(self, size: int) -> None:
        self.size = size


def role_of(preset: str, ranks: int) -> Any:
    pod: Any = Ranks(ranks)
    return coding(Slicing(VaeDecoderSettings(preset=preset)), pod)


@pytest.mark.parametrize(("preset", "ranks"), [("flashhead-1.3b-lite", 1), ("flashhead-1.3b", 4)])
def test_ranks_that_a_vae_can_have(preset: str, ranks: int) -> None:
    assert role_of(preset, ranks).loading.role == "vae_decoder"


def test_several_ranks_of_lite_are_refused_with_the_setting() -> None:
    with pytest.raises(InputError, match=r"preset: flashhead-1\.3b-lite: one rank .* not 2"):
        role_of("flashhead-1.3b-lite", 2)
