"""The Redis scripts: each is one atomic step of a session or a worker.

They compute keys of other sessions (in ``create`` and ``admit``), so all keys must be in one Redis,
or one with replicas behind a Sentinel; Redis Cluster is not supported.
"""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

_FOLDER = Path(__file__).parent / "lua"
_PRELUDE = "session"
_ALONE = frozenset({"admit", "keep_asset", "take_slot", "count_slots"})


def load_scripts(redis: Redis) -> dict[str, AsyncScript]:
    """Finds scripts by name; sends a script to the server if it is unknown there."""
    prelude = (_FOLDER / f"{_PRELUDE}.lua").read_text()
    scripts: dict[str, AsyncScript] = {}
    for file in sorted(_FOLDER.glob("*.lua")):
        if file.stem != _PRELUDE:
            source = file.read_text() if file.stem in _ALONE else prelude + file.read_text()
            scripts[file.stem] = redis.register_script(source)
    return scripts
