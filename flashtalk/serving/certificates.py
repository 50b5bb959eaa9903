"""Certificates of one end of TLS connections, read again when their files change."""

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
    """What one end shows, and whom it believes; PEM.

    Args:
        certificate, key: of this end; both or none.
        authorities: by whom the other end's certificate has to be signed; None: it is not asked.
    """

    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    authorities: bytes | None = None


@dataclass(frozen=True)
class CertificateFiles:
    """Where they lie.

    Args:
        certificate, key, authorities: as in ``Certificates``.
        names: of the settings with the three, for errors.
    """

    certificate: Path | None
    key: Path | None
    authorities: Path | None
    names: tuple[str, str, str]

    def read(self) -> Certificates:
        """Their contents.

        Raises:
            InputError: a file that cannot be used, or one of certificate and key without the other.
        """
        shown, secret, believed = self.names
        if self.certificate is None and self.key is not None:
            raise InputError(shown, "none", f"needed with {secret}")
        if self.key is None and self.certificate is not None:
            raise InputError(secret, "none", f"needed with {shown}")
        authorities = None
        if self.authorities is not None:
            authorities = read_authorities(believed, self.authorities)
        if self.certificate is None or self.key is None:
            return Certificates(authorities=authorities)
        certificate, key = read_pair(shown, self.certificate, secret, self.key)
        return Certificates(certificate, key, authorities)

    def stamp(self) -> _Stamp:
        """Another one after every change of a file."""
        paths = (self.certificate, self.key, self.authorities)
        return tuple(_stamp(path) for path in paths if path is not None)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return (found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns)


class CertificateWatch:
    """The newest certificates that can be used; may be asked from any thread.

    Args:
        files: where they lie.

    Raises:
        InputError: as ``CertificateFiles.read``.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files, self._lock = files, threading.Lock()
        self._stamp = files.stamp()
        self.current = files.read()

    def newer(self) -> Certificates | None:
        """Those in the files, if they have changed since the last look and can be used.

        Otherwise the old ones stay, and files that cannot be used are one line in the log.
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
                    _LOG.error("certificates kept as they were", extra={"error": str(error)})
                return None
            if stamp != self._files.stamp():
                return None  # in the middle of a change: the next look sees the end of it
            self._stamp = stamp
            if found == self.current:
                return None
            self.current = found
            _LOG.info("certificates read again", extra={"file": str(self._files.certificate)})
            return found


def server_credentials(files: CertificateFiles) -> grpc.ServerCredentials | None:
    """Of a server that reads its files again at a handshake after they have changed.

    With ``authorities`` clients have to show a certificate. Connections that are open stay as they
    are.

    Args:
        files: none of them for a server without TLS.

    Returns:
        None for a server without TLS.

    Raises:
        InputError: as ``CertificateFiles.read``; authorities without a certificate of its own.
    """
    watch = CertificateWatch(files)
    first = watch.current
    if first.certificate is None:
        if first.authorities is not None:
            raise InputError(files.names[0], "none", f"needed with {files.names[2]}")
        return None

    def fetch() -> Any:  # None where nothing has changed, which the stubs do not know
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
