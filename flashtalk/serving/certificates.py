"""Certificates of one end of TLS connections, reloaded when their files change."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from flashtalk.errors import InputError
from flashtalk.serving.logs import get_logger
from flashtalk.wire.certificates import read_authorities, read_pair

_LOG = get_logger(__name__)
_Stamp = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Certificates:
    """The certificate of one end and the authorities that it trusts; PEM.

    Args:
        certificate, key: certificate and private key of this end; both or none.
        authorities: CAs that must sign the other end's certificate; None: no certificate required.
    """

    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    authorities: bytes | None = None


@dataclass(frozen=True)
class CertificateFiles:
    """The files of ``Certificates``.

    Args:
        certificate, key, authorities: paths of the contents of ``Certificates``.
        names: names of the three settings, for errors.
    """

    certificate: Path | None
    key: Path | None
    authorities: Path | None
    names: tuple[str, str, str]

    def read(self) -> Certificates:
        """Reads the files.

        Raises:
            InputError: an unusable file, or only one of certificate and key.
        """
        shown, secret, believed = self.names
        if self.certificate is None and self.key is not None:
            raise InputError(shown, "none", f"required with {secret}")
        if self.key is None and self.certificate is not None:
            raise InputError(secret, "none", f"required with {shown}")
        authorities = None
        if self.authorities is not None:
            authorities = read_authorities(believed, self.authorities)
        if self.certificate is None or self.key is None:
            return Certificates(authorities=authorities)
        certificate, key = read_pair(shown, self.certificate, secret, self.key)
        return Certificates(certificate, key, authorities)

    def stamp(self) -> _Stamp:
        """Returns a value that changes with every change of a file."""
        paths = (self.certificate, self.key, self.authorities)
        return tuple(_stamp(path) for path in paths if path is not None)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return (found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns)


class CertificateWatch:
    """The newest usable certificates; thread-safe.

    Args:
        files: the certificate files.

    Raises:
        InputError: as ``CertificateFiles.read``.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files, self._lock = files, threading.Lock()
        self._stamp = files.stamp()
        self.current = files.read()

    def newer(self) -> Certificates | None:
        """Returns new certificates if the files have changed since the last call and are usable.

        Otherwise returns None, and the old ones stay; unusable files are logged in one line.
        """
        with self._lock:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return None
            try:
                found = self._files.read()
            except InputError as error:
                if stamp == self._files.stamp():
                    self._stamp = stamp
                    _LOG.error(
                        "certificates not reloaded; the previous ones stay in use",
                        extra={"error": str(error)},
                    )
                return None
            if stamp != self._files.stamp():
                return None  # the files are being changed: the next call reads the result
            self._stamp = stamp
            if found == self.current:
                return None
            self.current = found
            _LOG.info("certificates reloaded", extra={"file": str(self._files.certificate)})
            return found


def server_credentials(files: CertificateFiles) -> grpc.ServerCredentials | None:
    """Returns credentials of a server that reloads changed files at the next handshake.

    With ``authorities`` clients must present a certificate. Open connections are not affected.

    Args:
        files: all None for a server without TLS.

    Returns:
        None for a server without TLS.

    Raises:
        InputError: as ``CertificateFiles.read``; authorities without a server certificate.
    """
    watch = CertificateWatch(files)
    first = watch.current
    if first.certificate is None:
        if first.authorities is not None:
            raise InputError(files.names[0], "none", f"required with {files.names[2]}")
        return None

    def fetch() -> Any:  # None if nothing has changed, which the type stubs do not allow
        newer = watch.newer()
        return _configuration(newer) if newer is not None else None

    return grpc.dynamic_ssl_server_credentials(
        _configuration(first), fetch, require_client_authentication=first.authorities is not None
    )


def _configuration(found: Certificates) -> grpc.ServerCertificateConfiguration:
    assert found.certificate is not None
    assert found.key is not None
    return grpc.ssl_server_certificate_configuration(
        [(found.key, found.certificate)], root_certificates=found.authorities
    )
