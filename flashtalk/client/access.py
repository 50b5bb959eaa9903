"""Client authentication: TLS, and the API key in the metadata of calls."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from flashtalk.errors import InputError
from flashtalk.wire.certificates import read_authorities
from flashtalk.wire.proxies import is_loopback

_LONGEST_KEY = 512


def tls_credentials(authorities: Path | None = None) -> grpc.ChannelCredentials:
    """Returns credentials that trust these authorities; None: the public ones.

    Raises:
        InputError: an unusable file.
    """
    roots = read_authorities("tls_ca", authorities) if authorities is not None else None
    return grpc.ssl_channel_credentials(roots)


def read_api_key(path: Path) -> str:
    """Reads an API key from a file, without surrounding white space.

    Raises:
        InputError: an unreadable file, or one without a key; never contains the file's content.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_KEY + 64)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("api_key_file", path, f"cannot be read: {reason}") from None
    key = data.decode("ascii", "replace").strip()
    if not _is_key(key):
        raise InputError("api_key_file", path, "contains no valid API key")
    return key


def key_metadata(
    key: str, targets: Sequence[str], *, encrypted: bool, plaintext_key: bool
) -> tuple[tuple[str, str], ...]:
    """Returns the metadata of every call.

    Args:
        key: API key; empty for none.
        targets: HOST:PORT of the gateways.
        encrypted: whether the connections use TLS.
        plaintext_key: whether a key may be sent to another machine without encryption.

    Raises:
        InputError: an invalid key, or a key that would be sent unencrypted.
    """
    if not key:
        return ()
    if not _is_key(key):
        limit = f"must be at most {_LONGEST_KEY} visible ASCII characters without spaces"
        raise InputError("api_key", "the given key", limit)
    far = [target for target in targets if not is_loopback(target)]
    if far and not encrypted and not plaintext_key:
        limit = (
            "the connection is not encrypted; use TLS, or allow it with plaintext_key "
            "(--plaintext-key)"
        )
        raise InputError("api_key", f"not sent to {far[0]}", limit)
    return (("authorization", f"Bearer {key}"),)


def _is_key(text: str) -> bool:
    visible = text.isascii() and text.isprintable() and " " not in text
    return visible and 0 < len(text) <= _LONGEST_KEY


class KeyedStub:
    """A stub that adds metadata to its calls."""

    def __init__(self, stub: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub, self._metadata = stub, metadata

    def __getattr__(self, name: str) -> Any:
        return functools.partial(getattr(self._stub, name), metadata=self._metadata)
