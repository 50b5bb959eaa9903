"""Channels to workers, plain or TLS, with certificates that may change at runtime."""

from __future__ import annotations

import grpc

from flashtalk.errors import InputError
from flashtalk.serving.certificates import CertificateFiles, CertificateWatch
from flashtalk.serving.channel import ChannelLimits, ChannelTls, open_channel


class WorkerChannels:
    """Opens channels with the current certificates.

    Args:
        files: certificate, key and authorities; without authorities there is no encryption, and
            the other files must be empty.
        name: expected in the workers' certificates; empty: their addresses.
        limits: of the channels.

    Raises:
        InputError: an invalid file, or a setting without effect.
    """

    def __init__(
        self, files: CertificateFiles, name: str, limits: ChannelLimits | None = None
    ) -> None:
        believed = files.names[2]
        if files.authorities is None and (files.certificate or files.key or name):
            raise InputError(
                believed, "none", "required when another TLS setting for workers is set"
            )
        self._name, self._limits = name, limits
        self._watch = CertificateWatch(files) if files.authorities is not None else None

    def open(self, target: str) -> grpc.aio.Channel:
        """Opens a channel to HOST:PORT; the caller closes it."""
        if self._watch is None:
            return open_channel(target, self._limits)
        return open_channel(target, self._limits, ChannelTls(self._watch.current, self._name))

    def outdated(self) -> bool:
        """Returns True once after every change of the certificates."""
        return self._watch is not None and self._watch.newer() is not None
