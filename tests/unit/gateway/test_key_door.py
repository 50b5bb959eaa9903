"""Who comes in, how keys are compared, and what a change of the file does."""

from __future__ import annotations

import hmac
from pathlib import Path

import grpc
import pytest

from flashtalk.serving.errors import Reason, ServiceError
from services.gateway.keys import ring as ring_module
from services.gateway.keys.door import Door
from services.gateway.keys.entries import ANYBODY
from services.gateway.keys.ring import KeyRing
from tests.fakes.api_keys import KeyFile, shown

NAMES = ("alice", "bob", "carol", "dave")


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    found = KeyFile(tmp_path / "keys.json")
    for name in NAMES:
        found.add(name)
    return found


def refused(door: Door, metadata: tuple[tuple[str, str | bytes], ...]) -> str:
    with pytest.raises(ServiceError) as caught:
        door.caller(metadata)
    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
    assert caught.value.reason is Reason.BAD_KEY
    assert caught.value.metadata == {}
    return str(caught.value)


def test_everybody_is_found_by_the_key(file: KeyFile) -> None:
    door = Door.of(file.path)
    for name, key in file.keys.items():
        assert door.caller(shown(key)).name == name
        assert door.caller((("Authorization", f"bearer  {key} "),)).name == name


def test_what_is_no_good_key_is_refused_and_not_repeated(file: KeyFile) -> None:
    door, key = Door.of(file.path), file.keys["alice"]
    wrong: tuple[tuple[tuple[str, str | bytes], ...], ...] = (
        (),
        shown(key[:-1]),
        shown(key + "x"),
        shown(""),
        shown("\udcff"),
        (("authorization", key),),
        (("authorization", f"Basic {key}"),),
        (("authorization", f"Bearer {key}".encode()),),
        (("x-api-key", key),),
        (*shown(key), *shown(key)),
        shown("x" * 5_000),
    )
    for metadata in wrong:
        assert key[4:12] not in refused(door, metadata)


def test_without_a_file_everybody_comes_in_and_has_no_name() -> None:
    door = Door.of(None)
    assert door.caller(None) is ANYBODY
    assert door.caller(shown("whatever")).name == ""
    assert door.admits(ANYBODY)
    assert not door.locked


def test_an_empty_list_lets_nobody_in(file: KeyFile) -> None:
    key = file.keys["alice"]
    file.keys.clear()
    file.write()
    refused(Door.of(file.path), shown(key))


def test_every_key_is_compared_whichever_it_is(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In constant time each, digests and not keys, and none is left out after a match."""
    ring, compared = KeyRing(file.path), list[tuple[bytes, bytes]]()

    class Counting:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(ring_module, "hmac", Counting)
    for key in (*file.keys.values(), "wrong"):
        compared.clear()
        found = ring.find(key)
        assert (found is None) == (key == "wrong")
        assert len(compared) == len(NAMES)
        assert {len(part) for pair in compared for part in pair} == {32}


def test_a_change_of_the_file_is_a_change_of_the_keys(file: KeyFile) -> None:
    door = Door.of(file.path)
    alice, bob = door.caller(shown(file.keys["alice"])), door.caller(shown(file.keys["bob"]))
    old = file.keys["alice"]
    file.remove("alice")
    new = file.add("erin")
    door.refresh()
    refused(door, shown(old))
    assert door.caller(shown(new)).name == "erin"
    assert not door.admits(alice)
    assert door.admits(bob)
    file.limits["bob"] = {"max_sessions": 1}
    file.write()
    door.refresh()
    assert door.admits(bob), "a limit is not a reason to go"
    assert door.caller(shown(file.keys["bob"])).max_sessions == 1
    file.add("bob")
    door.refresh()
    assert not door.admits(bob), "the same name with another key is somebody else"


def test_a_broken_new_file_keeps_the_old_keys_and_is_told_once(
    file: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    door, key = Door.of(file.path), file.keys["alice"]
    for broken in ("[", '[{"name": "alice"}]', None):
        caplog.clear()
        if broken is None:
            file.path.unlink()
        else:
            file.path.write_text(broken)
        for _ in range(3):
            door.refresh()
            assert door.caller(shown(key)).name == "alice"
        (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert "API keys not reloaded" in line.message
        assert key[4:12] not in str(vars(line))
    file.remove("alice")
    door.refresh()
    refused(door, shown(key))
