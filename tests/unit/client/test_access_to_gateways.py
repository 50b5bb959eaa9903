"""What a client shows, to whom, and where it refuses to."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from flashtalk.client import FlashTalkClient, read_api_key, tls_credentials
from flashtalk.client.access import KeyedStub, key_metadata
from flashtalk.errors import InputError

KEY = "ftk_0123456789abcdefghij"
HERE = ("localhost:1", "127.0.0.1:1", "[::1]:1")
ELSEWHERE = ("example.org:443", "10.0.0.7:50050", "localhost.example.org:1", "127.example.org:1")


@pytest.mark.parametrize("target", HERE)
def test_a_key_is_sent_to_this_machine(target: str) -> None:
    shown = key_metadata(KEY, [target], encrypted=False, plaintext_key=False)
    assert shown == (("authorization", f"Bearer {KEY}"),)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_key_is_sent_elsewhere_only_with_tls_or_when_asked_for(target: str) -> None:
    with pytest.raises(InputError) as caught:
        FlashTalkClient(f"localhost:1,{target}", api_key=KEY)
    assert caught.value.field == "api_key"
    assert target in str(caught.value)
    assert KEY[4:12] not in str(caught.value)
    FlashTalkClient(target, api_key=KEY, credentials=grpc.ssl_channel_credentials())
    FlashTalkClient(target, api_key=KEY, plaintext_key=True)
    FlashTalkClient(target)


@pytest.mark.parametrize("key", ["two words", "line\nend", "ümlaut", "x" * 513, "\x00"])
def test_what_is_no_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(InputError) as caught:
        FlashTalkClient("localhost:1", api_key=key)
    assert caught.value.field == "api_key"
    assert key not in str(caught.value)


def test_a_key_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\r\n")
    assert read_api_key(path) == KEY
    for data in (b"", b"two words", b"\xff\xfe", b"x" * 5_000):
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            read_api_key(path)
        assert caught.value.field == "api_key_file"
        assert "two words" not in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        read_api_key(tmp_path / "none")


def test_roots_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca"
    for data in (b"", b"text", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"):
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            tls_credentials(path)
        assert caught.value.field == "tls_ca"
    with pytest.raises(InputError, match="No such file"):
        tls_credentials(tmp_path / "none")
    with pytest.raises(InputError, match="directory"):
        tls_credentials(tmp_path)


def test_nothing_that_is_printed_of_a_client_holds_the_key() -> None:
    client = FlashTalkClient("localhost:1", api_key=KEY)
    stub = KeyedStub(object(), key_metadata(KEY, [], encrypted=True, plaintext_key=False))
    assert KEY not in repr(client)
    assert KEY not in repr(stub)
