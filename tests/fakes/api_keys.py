"""A file of API keys, and stubs that show one of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flashtalk.client.access import KeyedStub
from services.gateway.keys.entries import digest_of, entry_of, new_key


@dataclass
class KeyFile:
    """The file, and the keys in it by the names of their holders."""

    path: Path
    keys: dict[str, str] = field(default_factory=dict)
    limits: dict[str, dict[str, int | float]] = field(default_factory=dict)

    def add(self, name: str, **limits: int | float) -> str:
        """A new key for a holder, in the place of the old one; it is in the file from now on."""
        self.keys[name], self.limits[name] = new_key(), limits
        self.write()
        return self.keys[name]

    def remove(self, name: str) -> None:
        """It is not in the file any more."""
        del self.keys[name]
        self.write()

    def write(self) -> None:
        """At once, as a mounted secret changes."""
        entries = [entry_of(key, name, self.limits[name]) for name, key in self.keys.items()]
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(entries))
        beside.replace(self.path)

    def digests(self) -> list[str]:
        """What the file holds of the keys."""
        return [digest_of(key).hex() for key in self.keys.values()]


def shown(key: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with a key."""
    return (("authorization", f"Bearer {key}"),)


def with_key(stub: Any, key: str) -> Any:
    """A stub that shows it with every call."""
    return KeyedStub(stub, shown(key))
