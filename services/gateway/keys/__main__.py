"""``python -m services.gateway.keys new --name NAME``: prints a key and its file entry."""

from __future__ import annotations

import argparse
import json
import sys

from flashtalk.errors import InputError
from flashtalk.terminal import OneLineParser, deliver, guarded, note
from services.gateway.keys.entries import KeyFileError, entry_of, new_key

_LIMITS: dict[str, type[int] | type[float]] = {
    "max_sessions": int,
    "sessions_per_minute": int,
    "max_lifetime_s": float,
}


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line parser."""
    parser = OneLineParser(prog="python -m services.gateway.keys", allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    new = commands.add_parser(
        "new",
        help="create a key",
        description="Print a new key and its entry for the key file. The key itself is not stored.",
        allow_abbrev=False,
    )
    new.add_argument(
        "--name", required=True, help="name of the key; its sessions belong to this name"
    )
    new.add_argument(
        "--max-sessions",
        type=int,
        metavar="N",
        help="maximum number of open sessions (default: unlimited)",
    )
    new.add_argument(
        "--sessions-per-minute",
        type=int,
        metavar="N",
        help="maximum number of sessions created per minute (default: unlimited)",
    )
    new.add_argument(
        "--max-lifetime-s",
        type=float,
        metavar="S",
        help="maximum lifetime of a session, seconds (default: the gateway's limit)",
    )
    return parser


def main() -> int:
    """Returns 0, or 2 for an invalid name or limit."""
    args = build_parser().parse_args()
    given = {name: getattr(args, name) for name in _LIMITS}
    limits = {name: value for name, value in given.items() if value is not None}
    key = new_key()
    try:
        entry = entry_of(key, args.name, limits)
    except KeyFileError as error:
        field, _, rest = str(error).removeprefix("entry 1: ").partition(": ")
        value, _, limit = rest.partition(": ")
        raise InputError(field, value, limit) from None
    note("first line: the key, which is not shown again; second line: its entry for the key file")
    deliver(f"{key}\n{json.dumps(entry)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("services.gateway.keys", main))
