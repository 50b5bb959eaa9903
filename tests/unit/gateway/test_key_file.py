"""The file of API keys: what it may hold, and what is said of what it may not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from services.gateway.keys.entries import (
    PREFIX,
    KeyFileError,
    digest_of,
    entry_of,
    new_key,
    read_keys,
)
from services.gateway.keys.ring import KeyRing

DIGEST = hashlib.sha256(b"one").hexdigest()
OTHER = hashlib.sha256(b"two").hexdigest()


def entry(**changes: Any) -> dict[str, Any]:
    found = {"name": "alice", "sha256": DIGEST, **changes}
    return {name: value for name, value in found.items() if value is not ...}


def test_an_entry_becomes_a_key_with_its_limits() -> None:
    text = json.dumps(
        [
            entry(max_sessions=2, sessions_per_minute=30, max_lifetime_s=600),
            {**entry(), "name": "bob", "sha256": OTHER},
        ]
    )
    alice, bob = read_keys(text)
    assert (alice.name, alice.digest) == ("alice", bytes.fromhex(DIGEST))
    assert (alice.max_sessions, alice.sessions_per_minute, alice.max_lifetime_s) == (2, 30, 600.0)
    assert (bob.max_sessions, bob.sessions_per_minute, bob.max_lifetime_s) == (0, 0, math.inf)
    assert read_keys("[]") == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": ...}, "name: missing"),
        ({"sha256": ...}, "sha256: missing"),
        ({"name": ""}, "name: :"),
        ({"name": "a:b"}, "name: a:b:"),
        ({"name": "-a"}, "name: -a:"),
        ({"name": "x" * 65}, "name: xxx"),
        ({"name": 7}, "name: 7:"),
        ({"sha256": DIGEST[:-1]}, "sha256: must be 64"),
        ({"sha256": DIGEST.upper()}, "sha256: must be 64"),
        ({"sha256": None}, "sha256: must be 64"),
        ({"max_sessions": -1}, "max_sessions: -1:"),
        ({"max_sessions": True}, "max_sessions: True:"),
        ({"max_sessions": 1.5}, "max_sessions: 1.5:"),
        ({"sessions_per_minute": "9"}, "sessions_per_minute: '9':"),
        ({"sessions_per_minute": 10**7}, "sessions_per_minute: 10000000:"),
        ({"max_lifetime_s": 0}, "max_lifetime_s: 0:"),
        ({"max_lifetime_s": None}, "max_lifetime_s: None:"),
        ({"max_lifetime_s": True}, "max_lifetime_s: True:"),
        ({"max_lifetime_s": 1e12}, "max_lifetime_s: 1000000000000.0:"),
        ({"key": "x"}, "key: unknown field"),
    ],
)
def test_a_bad_field_is_named_with_its_entry(changes: dict[str, Any], named: str) -> None:
    first = {"name": "first", "sha256": OTHER}
    with pytest.raises(KeyFileError, match="entry 2: ") as caught:
        read_keys(json.dumps([first, entry(**changes)]))
    assert named in str(caught.value)
    assert DIGEST[:20] not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not valid JSON"),
        ("{}", "a JSON list"),
        ("[1]", "entry 1: must be a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('[{"name": "a", "name": "b"}]', "name: appears twice"),
        (f'[{{"name": "a", "sha256": "{DIGEST}", "max_lifetime_s": NaN}}]', "NaN is not a number"),
        (f'[{{"name": "a", "sha256": "{DIGEST}", "max_lifetime_s": Infinity}}]', "Infinity"),
        (json.dumps([entry(), entry(sha256=OTHER)]), "entry 2: name: alice: also used by entry 1"),
        (json.dumps([entry(), entry(name="b")]), "entry 2: sha256: same key as entry 1"),
    ],
)
def test_what_is_no_list_of_entries_is_refused(text: str, named: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        read_keys(text)
    assert named in str(caught.value)
    assert DIGEST[:20] not in str(caught.value)


def test_a_key_in_the_place_of_its_digest_is_not_shown() -> None:
    key = new_key()
    with pytest.raises(KeyFileError) as caught:
        read_keys(json.dumps([entry(sha256=key)]))
    assert key[4:12] not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_keys_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(KeyFileError):
        read_keys(text)


def test_new_keys_are_long_random_and_recognised() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith(PREFIX) and len(key) == len(PREFIX) + 43 for key in keys)


def test_a_new_key_fits_its_entry() -> None:
    key = new_key()
    (read,) = read_keys(json.dumps([entry_of(key, "alice", {"max_sessions": 3})]))
    assert read.digest == digest_of(key)
    assert read.max_sessions == 3


def test_nothing_that_is_printed_of_a_key_holds_its_digest(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(json.dumps([entry()]))
    ring = KeyRing(tmp_path / "keys")
    found = ring.find("one")
    assert found is not None
    for text in (repr(found), str(found), repr(ring), repr([found])):
        assert DIGEST[:16] not in text
        assert repr(found.digest)[2:10] not in text


def test_a_file_that_cannot_be_used_at_the_start_names_the_setting(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none", "No such file"), (tmp_path, "directory")):
        with pytest.raises(InputError) as caught:
            KeyRing(path)
        assert caught.value.field == "api_keys"
        assert said in caught.value.limit
