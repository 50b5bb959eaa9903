"""Tables fit the terminal: no number is broken, none is lost."""

import io
import random

import pytest
from rich.console import Console

from training.evaluate.terminal_tables import print_markdown, print_table

HEAD = ["", "LipCorr", "closed in silence", "Sync-C own ↑", "backgr dB slope ↑", "FPS ↑"]
BODY = [
    ["short: truth through VAE", "0.98", "1.00", "0.401 [0.300, 0.500]", "-0.001", "90.1"],
    ["generated", "0.91", "0.99", "**+0.351 [0.322, 0.378]**", "0.002", "n/a"],
]


def console(width: int) -> Console:
    return Console(width=width, file=io.StringIO(), record=True, force_terminal=False)


def printed(target: Console) -> str:
    return target.export_text()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_every_number_is_whole_and_every_line_fits(width: int) -> None:
    target = console(width)
    print_table(target, "Clips", HEAD, BODY)
    text = printed(target)
    for row in BODY:
        for cell in row[1:]:
            assert cell.strip("*") in text
    assert max(map(len, text.splitlines())) <= width
    assert "**" not in text


def test_many_columns_fit_too() -> None:
    rng = random.Random(1)
    head = ["", *(f"measure {k}" for k in range(30))]
    body = [["name", *(f"{rng.random():.{rng.randrange(1, 6)}f}" for _ in range(30))]]
    target = console(80)
    print_table(target, "All", head, body)
    text = printed(target)
    assert all(cell in text for cell in body[0][1:])
    assert max(map(len, text.splitlines())) <= 80
    assert "All (1 of" in text


def test_what_fits_stays_one_table() -> None:
    target = console(200)
    print_table(target, "Clips", HEAD, BODY)
    assert "1 of" not in printed(target)


def test_a_terminal_narrower_than_a_number_still_shows_all_columns() -> None:
    target = console(12)
    print_table(target, "", HEAD, BODY)
    assert printed(target).count("┃") > 0


def test_markdown_keeps_its_text_and_splits_its_tables() -> None:
    lines = [
        "### Short [clips]",
        "",
        *("| " + " | ".join(row) + " |" for row in [HEAD, ["---"] + ["---:"] * 5, *BODY]),
        "",
        "| no table",
        "the end",
    ]
    target = console(80)
    print_markdown(target, "\n".join(lines))
    text = printed(target)
    for piece in ("### Short [clips]", "| no table", "the end", "0.401 [0.300, 0.500]", "n/a"):
        assert piece in text
    assert max(map(len, text.splitlines())) <= 80
