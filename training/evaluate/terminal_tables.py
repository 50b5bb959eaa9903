"""Wide tables on a narrow terminal: several tables below each other without wrapped numbers."""

import re
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

# Characters around a cell: the line before it and a space on each side.
_FRAME = 3
_RULE = re.compile(r"^\|(?:\s*:?-+:?\s*\|)+$")
_BOLD = re.compile(r"\*\*(.+?)\*\*")


def print_table(
    console: Console, title: str, head: Sequence[str], body: Sequence[Sequence[str]]
) -> None:
    """Prints rows of cells; ``head`` and every row begin with the row's name.

    Names and headings may break between words, numbers never.  Columns that exceed the console's
    width are printed in further tables, which repeat the names.
    """
    names = _names_width(head, body, console.width)
    room = console.width - names - _FRAME - 1
    parts = _parts(head, body, room)
    for number, columns in enumerate(parts, start=1):
        shown = f"{title} ({number} of {len(parts)})" if len(parts) > 1 and title else title
        table = RichTable(title=shown or None, title_justify="left")
        table.add_column(head[0], width=names, overflow="fold")
        left = room - sum(_narrowest(head, body, column) + _FRAME for column in columns)
        for column in columns:
            # The rest of the line is for headings that would otherwise break.
            narrow = _narrowest(head, body, column)
            more = max(0, min(left, len(head[column]) - narrow))
            left -= more
            table.add_column(head[column], justify="right", width=narrow + more)
        for row in body:
            table.add_row(row[0], *(_styled(row[column]) for column in columns))
        console.print(table)


def print_markdown(console: Console, text: str) -> None:
    """Prints a text unchanged, except its tables, with ``print_table``."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and lines[end].startswith("|"):
            end += 1
        if end - at >= 2 and _RULE.match(lines[at + 1]):
            head, _, *body = (_cells(line) for line in lines[at:end])
            print_table(console, "", head, body)
            at = end
        else:
            console.print(lines[at], markup=False, soft_wrap=True)
            at += 1


def _names_width(head: Sequence[str], body: Sequence[Sequence[str]], width: int) -> int:
    """Returns the width of names: at most a third of the line, with space for any column."""
    names = [row[0] for row in (head, *body)]
    widest = max((_narrowest(head, body, column) for column in range(1, len(head))), default=0)
    wanted = min(max(map(len, names)), width // 3, width - widest - 2 * _FRAME - 1)
    return max(max(map(_word, names)), wanted, 1)


def _parts(head: Sequence[str], body: Sequence[Sequence[str]], room: int) -> list[list[int]]:
    """Returns groups of column numbers that fit; at least one each, even on a narrow terminal."""
    parts: list[list[int]] = [[]]
    left = room
    for column in range(1, len(head)):
        needed = _narrowest(head, body, column) + _FRAME
        if needed > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= needed
    return parts


def _narrowest(head: Sequence[str], body: Sequence[Sequence[str]], column: int) -> int:
    cells = [len(_plain(row[column])) for row in body]
    return max([_word(head[column]), 1, *cells])


def _word(text: str) -> int:
    return max((len(word) for word in text.split()), default=0)


def _cells(line: str) -> list[str]:
    # A bar inside of a cell is part of a name such as |LipCorr|: it touches its word.
    return [cell.strip() for cell in re.split(r"(?:^|(?<=\s))\|(?=\s|$)", line)[1:-1]]


def _plain(cell: str) -> str:
    return _BOLD.sub(r"\1", cell)


def _styled(cell: str) -> Text:
    style = "bold" if _BOLD.search(cell) else ""
    return Text(_plain(cell), style=style, no_wrap=True)
