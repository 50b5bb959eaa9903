"""An authority of a test's own, and certificates that it signs (the ``openssl`` program)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
_DAYS = "3"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    cert: Path
    key: Path

    def replace(self, other: Pair) -> None:
        """The other's contents in these files, each at once, as a rotation does it."""
        for old, new in ((self.key, other.key), (self.cert, other.cert)):
            beside = old.with_suffix(".new")
            shutil.copyfile(new, beside)
            beside.replace(old)


class Authority:
    """Signs certificates.

    Args:
        folder: where its files lie.
        name: of the authority.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl("-out", str(self.ca), "-keyout", str(self._key), "-subj", f"/CN={name}")

    def issue(self, file: str, names: str) -> Pair:
        """A certificate.

        Args:
            file: what its files are called.
            names: as openssl writes them, ``DNS:localhost,IP:127.0.0.1``.
        """
        pair = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        _openssl(
            "-CA",
            str(self.ca),
            "-CAkey",
            str(self._key),
            "-out",
            str(pair.cert),
            "-keyout",
            str(pair.key),
            "-subj",
            f"/CN={file}",
            "-addext",
            f"subjectAltName={names}",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        )
        return pair


def _openssl(*words: str) -> None:
    assert shutil.which("openssl"), "openssl is missing: scripts/setup_system.sh"
    command = ["openssl", "req", "-x509", *_NEW_KEY, "-days", _DAYS, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
