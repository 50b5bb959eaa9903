"""Channels to workers, in the clear or with TLS, whose files may change while the gateway runs."""

from __future__ import annotations

import grpc

from flashtalk.errors import InputError
from flashtalk.serving.certificates import CertificateFiles, CertificateWatch
from flashtalk.serving.channel import ChannelLimits, ChannelTls, open_channel


class WorkerChannels:
    """Opens channels with the newest certificates.

    Args:
        files: what is shown and who is believed; without authorities nothing is encrypted, and
            nothing else may be set then.
        name: that certificates of workers carry; empty: their addresses.
        limits: of the channels.

    Raises:
        InputError: a file that cannot be used, or a setting that would be without effect.
    """

    def __init__(
        self, files: CertificateFiles, name: str, limits: ChannelLimits | None = None
    ) -> None:
        believed = files.names[2]
        if files.authorities is None and (files.certificate or files.key or name):
            raise InputError(
                believed, "none", "needed where anything else is set for TLS to workers"
            )
        self._name, self._limits = name, limits
        self._watch = CertificateWatch(files) if files.authorities is not None else None

    def open(self, target: str) -> grpc.aio.Channel:
        """A channel to HOST:PORT; whoever opens it closes it."""
        if self._watch is None:
            return open_channel(target, self._limits)
        return open_channel(target, self._limits, ChannelTls(self._watch.current, self._name))

    def outdated(self) -> bool:
        """True once after every change of the certificates."""
        return self._watch is not None and self._watch.newer() is not None
