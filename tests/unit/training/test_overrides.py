"""``key=value`` overrides: types, dotted and bare names, errors that name the key."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from flashtalk.errors import InputError
from training.core.overrides import apply_overrides, field_paths


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    steps: int = 5
    mode: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Model:
    width: int = 8
    steps: int = 4


@dataclass(frozen=True)
class Outer:
    trainer: Inner = field(default_factory=Inner)
    first: Model = field(default_factory=Model)
    second: Model = field(default_factory=Model)
    name: str = "x"
    flag: bool = False
    sizes: tuple[int, ...] = (1, 2)
    limit: float | None = 1.0


def test_values_are_parsed_by_the_type_of_their_field() -> None:
    config = apply_overrides(
        Outer(),
        [
            "trainer.lr=1e-3",
            "trainer.steps=7",
            "second.width=9",
            "name=a=b",
            "flag=true",
            "sizes=4,5,6",
            "limit=none",
        ],
    )
    assert config == Outer(Inner(1e-3, 7), Model(), Model(9), "a=b", True, (4, 5, 6), None)


def test_later_overrides_win_and_the_original_is_untouched() -> None:
    before = Outer()
    assert apply_overrides(before, ["name=p", "name=q"]).name == "q"
    assert before == Outer()


def test_the_end_of_a_path_is_enough_where_it_is_the_only_one() -> None:
    @dataclass(frozen=True)
    class Nested:
        trainer: Inner = field(default_factory=Inner)
        outer: Outer = field(default_factory=Outer)

    assert apply_overrides(Nested(), ["second.width=3"]).outer.second.width == 3
    # A whole path is that field, also if it is the end of another one.
    assert apply_overrides(Nested(), ["trainer.lr=3"]).trainer.lr == 3
    assert apply_overrides(Nested(), ["flag=1"]).outer.flag
    with pytest.raises(InputError, match="ambiguous"):
        apply_overrides(Nested(), ["width=3"])


def test_every_listed_path_can_be_overridden() -> None:
    values = {
        "lr": "2",
        "steps": "2",
        "mode": "b",
        "name": "2",
        "flag": "1",
        "sizes": "2",
        "limit": "2",
        "width": "2",
    }
    for path in field_paths(Outer()):
        assert apply_overrides(Outer(), [f"{path}={values[path.split('.')[-1]]}"]) != Outer()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("name", "key=value"),
        ("nome=1", r"nome.*did you mean name"),
        ("trainer.zz=1", "not a field"),
        ("trainer=1", "not a field"),
        ("width=1", r"ambiguous.*first\.width, second\.width"),
        ("steps=1", r"ambiguous.*trainer\.steps, first\.steps, second\.steps"),
        ("first_width=1", r"did you mean first\.width"),
        ("trainer.steps=1.5", r"trainer\.steps: 1\.5: must be an integer"),
        ("trainer.lr=fast", "must be a number"),
        ("flag=maybe", "true or false"),
        ("trainer.mode=c", "one of a, b"),
        ("sizes=1,x", "an integer"),
    ],
)
def test_a_bad_override_names_what_is_wrong(assignment: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        apply_overrides(Outer(), [assignment])
