"""Sizes as people write them."""

import pytest

from flashtalk.errors import InputError
from flashtalk.streaming import parse_size_hw


@pytest.mark.parametrize("text", ["96x64", "96X64", " 96x64 "])
def test_a_size_is_width_by_height(text: str) -> None:
    assert parse_size_hw(text) == (64, 96)


@pytest.mark.parametrize(
    "text", ["", "64", "64x", "axb", "64x64x64", "-1x64", "0x64", "64x60", "4112x64", "6 4x64"]
)
def test_other_sizes_are_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match=r"size|height|width"):
        parse_size_hw(text)


def test_the_error_names_the_field_of_the_caller() -> None:
    with pytest.raises(InputError, match="sizes: 64: WIDTHxHEIGHT"):
        parse_size_hw("64", "sizes")
