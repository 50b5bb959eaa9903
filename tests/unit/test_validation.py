"""Configurations survive JSON; what is not of the annotated type is refused, with its field."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from flashtalk.errors import InputError
from flashtalk.validation import JsonConfig, require, validate


@dataclass(frozen=True)
class Config(JsonConfig):
    width: int
    depth: int
    rate: float = 0.5
    flag: bool = False
    sizes: tuple[int, ...] = (1, 2)
    spans: tuple[tuple[float, float], ...] = ()
    limit: int | None = None
    mode: Literal["a", "b"] = "a"
    name: Annotated[str, Field(description="a short text")] = ""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError("width", self.width, "at least 1")


FINITE = st.floats(allow_nan=False, allow_infinity=False)
CONFIGS = st.builds(
    Config,
    width=st.integers(1),
    depth=st.integers(),
    rate=FINITE,
    flag=st.booleans(),
    sizes=st.lists(st.integers()).map(tuple),
    spans=st.lists(st.tuples(FINITE, FINITE)).map(tuple),
    limit=st.none() | st.integers(),
    mode=st.sampled_from(["a", "b"]),
    name=st.text(),
)
REQUIRED = {"width": 1, "depth": 2}


@given(CONFIGS)
def test_a_config_survives_json(config: Config) -> None:
    assert Config.from_dict(config.to_dict()) == config
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_whole_number_becomes_a_float_where_the_field_is_one() -> None:
    assert isinstance(Config.from_dict({**REQUIRED, "rate": 3}).rate, float)


@pytest.mark.parametrize(
    ("values", "field", "value"),
    [
        ({"width": True}, "width", True),
        ({"width": 4.0}, "width", 4.0),
        ({"width": "4"}, "width", "4"),
        ({"width": None}, "width", None),
        ({"width": 0}, "width", 0),
        ({"rate": True}, "rate", True),
        ({"rate": "0.5"}, "rate", "0.5"),
        ({"flag": 1}, "flag", 1),
        ({"flag": "true"}, "flag", "true"),
        ({"sizes": 3}, "sizes", 3),
        ({"sizes": [1, 2.5]}, "sizes", 2.5),
        ({"spans": [[0, 1], [0, "1"]]}, "spans", "1"),
        ({"limit": 1.0}, "limit", 1.0),
        ({"mode": "c"}, "mode", "c"),
        ({"name": 5}, "name", 5),
        ({"breadth": 4}, "breadth", 4),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(
    values: dict[str, Any], field: str, value: object
) -> None:
    with pytest.raises(InputError) as caught:
        Config.from_dict(REQUIRED | values)
    assert (caught.value.field, caught.value.value) == (field, value)


def test_errors_say_what_is_accepted() -> None:
    with pytest.raises(InputError, match=r"^width, depth: missing: required$"):
        Config.from_dict({})
    with pytest.raises(InputError, match=r"^breadth: 4: one of width, depth, rate, "):
        Config.from_dict({"depth": 2, "breadth": 4})
    with pytest.raises(InputError, match=r"^rate: fast: a valid number$"):
        Config.from_dict({**REQUIRED, "rate": "fast"})
    with pytest.raises(InputError, match=r"^line 3: name: 5: a short text$"):
        validate(Config, {**REQUIRED, "name": 5}, "line 3")
    with pytest.raises(InputError, match=r"^sizes: 2\.5: a valid integer \(item 1\)$"):
        Config.from_dict({**REQUIRED, "sizes": [1, 2.5]})
    with pytest.raises(InputError, match=r"^line 3: \[1\]: an object$"):
        validate(Config, [1], "line 3")


def test_fixed_values_may_be_absent_and_nothing_else() -> None:
    require({"act": "gelu"}, {})
    require({"act": "gelu"}, {"act": "gelu", "other": 1})
    with pytest.raises(InputError, match="act: relu: only gelu is implemented"):
        require({"act": "gelu"}, {"act": "relu"})
    with pytest.raises(InputError, match="flag: 1: only True is implemented"):
        require({"flag": True}, {"flag": 1})
