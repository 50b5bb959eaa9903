"""Reads PEM files of TLS strictly: an unusable file is one error that names it."""

from __future__ import annotations

import ssl
from pathlib import Path

from flashtalk.errors import InputError

_LARGEST_BYTES = 1 << 20


def read_authorities(field: str, path: Path) -> bytes:
    """Reads certificates of authorities, PEM.

    Args:
        field: name in errors.
        path: path of the file.

    Raises:
        InputError: missing, unreadable, or without a certificate.
    """
    data = _read(field, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=data.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        raise InputError(field, path, "not a PEM file with certificates") from None
    return data


def read_pair(
    certificate_field: str, certificate: Path, key_field: str, key: Path
) -> tuple[bytes, bytes]:
    """Reads a certificate with its chain, and its private key, both PEM.

    Raises:
        InputError: missing, unreadable, no PEM, a key with a password, or the key of another
            certificate.
    """
    chain, secret = _read(certificate_field, certificate), _read(key_field, key)
    read_authorities(certificate_field, certificate)
    if b"PRIVATE KEY-----" not in secret:
        raise InputError(key_field, key, "not a PEM file with a private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password, since the library would otherwise prompt at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        why = "must be a private key without a password"
        if "MISMATCH" in (error.reason or ""):
            why = f"must be the private key of the certificate in {certificate}"
        raise InputError(key_field, key, why) from None
    except OSError as error:
        raise InputError(key_field, key, f"cannot be read: {error.strerror}") from None
    return chain, secret


def _read(field: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(field, path, f"cannot be read: {reason}") from None
    if len(data) > _LARGEST_BYTES:
        raise InputError(field, path, f"must be at most {_LARGEST_BYTES} bytes")
    if b"-----BEGIN " not in data:
        raise InputError(field, path, "not a PEM file")
    return data
