"""The file of API keys: digests, names and limits; it never contains a key."""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from flashtalk.errors import FlashTalkError

PREFIX = "ftk_"
_KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST = 1_000_000
_LONGEST_LIFE_S = 366 * 86_400.0
_FIELDS = frozenset({"name", "sha256", "max_sessions", "sessions_per_minute", "max_lifetime_s"})
_SHOWN = 60


class KeyFileError(FlashTalkError):
    """An invalid key file; the message names the field and the entry, and contains no digest."""


@dataclass(frozen=True)
class ApiKey:
    """The entry of one key.

    Args:
        name: name of the key's owner, to whom sessions belong. Empty: a caller without a key.
        digest: SHA-256 of the key.
        max_sessions: limit of open sessions; sessions_per_minute: limit of creations; 0: none.
        max_lifetime_s: of each session; infinite: the gateway's limit.
    """

    name: str
    digest: bytes = field(repr=False)
    max_sessions: int = 0
    sessions_per_minute: int = 0
    max_lifetime_s: float = math.inf


ANYBODY = ApiKey("", b"")
"""The caller of a gateway that requires no key."""


def digest_of(key: str) -> bytes:
    """Returns the digest of a key. A key has 256 random bits, so it needs no slow hash."""
    return hashlib.sha256(key.encode(errors="replace")).digest()


def new_key() -> str:
    """Returns a new random key, with a prefix by which keys are recognised."""
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def entry_of(key: str, name: str, limits: dict[str, int | float]) -> dict[str, Any]:
    """Returns an entry for the file. Raises KeyFileError for an invalid name or limit."""
    entry = {"name": name, "sha256": digest_of(key).hex(), **limits}
    _entry(1, entry)
    return entry


def read_keys(text: str) -> tuple[ApiKey, ...]:
    """Reads the entries of a file: a JSON list of objects.

    Raises:
        KeyFileError: not such a list; an unknown, missing, repeated or invalid field; two entries
            with the same name or key.
    """
    try:
        entries = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"not valid JSON: {error}") from None
    if not isinstance(entries, list):
        raise KeyFileError("must be a JSON list of entries")
    keys = tuple(_entry(number, entry) for number, entry in enumerate(entries, 1))
    for number, key in enumerate(keys, 1):
        for other, earlier in enumerate(keys[: number - 1], 1):
            if earlier.name == key.name:
                raise KeyFileError(f"entry {number}: name: {key.name}: also used by entry {other}")
            if earlier.digest == key.digest:
                raise KeyFileError(f"entry {number}: sha256: same key as entry {other}")
    return keys


def _entry(number: int, entry: Any) -> ApiKey:
    if not isinstance(entry, dict):
        raise KeyFileError(f"entry {number}: must be a JSON object")
    place = f"entry {number}: "
    for name in entry:
        if name not in _FIELDS:
            known = ", ".join(sorted(_FIELDS))
            raise KeyFileError(f"{place}{name[:_SHOWN]}: unknown field; known fields are {known}")
    for name in ("name", "sha256"):
        if name not in entry:
            raise KeyFileError(f"{place}{name}: missing")
    name, digest = entry["name"], entry["sha256"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        limit = "must be 1 to 64 characters of A-Z a-z 0-9 _ -, starting with a letter or digit"
        raise KeyFileError(f"{place}name: {str(name)[:_SHOWN]}: {limit}")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        # Not included in the message: it may be the key itself, entered by mistake.
        raise KeyFileError(f"{place}sha256: must be 64 lower-case hexadecimal digits")
    return ApiKey(
        name,
        bytes.fromhex(digest),
        _count(place, "max_sessions", entry.get("max_sessions", 0)),
        _count(place, "sessions_per_minute", entry.get("sessions_per_minute", 0)),
        _life_s(place, entry["max_lifetime_s"]) if "max_lifetime_s" in entry else math.inf,
    )


def _count(place: str, name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise KeyFileError(
            f"{place}{name}: {_shown(value)}: must be an integer from 0 (unlimited) to {_MOST}"
        )
    return value


def _life_s(place: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= _LONGEST_LIFE_S:
        limit = f"above 0, at most {_LONGEST_LIFE_S:g}"
        raise KeyFileError(f"{place}max_lifetime_s: {_shown(value)}: {limit}")
    return float(value)


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name[:_SHOWN]}: appears twice in one entry")
        found[name] = value
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")
