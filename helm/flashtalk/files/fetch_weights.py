"""fetch_weights.py URL SHA256 FOLDER: downloads, verifies and unpacks an archive of weights.

Runs as an init container. Does nothing if the folder already holds the archive of this digest.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

_PIECE_BYTES = 1 << 20
_DIGEST_FILE = ".sha256"


def main(url: str, sha256: str, folder: str) -> int:
    """Returns 0 when the weights are in ``folder``; 1 after an error line otherwise."""
    target = Path(folder)
    kept = target / _DIGEST_FILE
    if kept.is_file() and kept.read_text().strip() == sha256:
        print(f"weights: {sha256[:12]} is already unpacked")
        return 0
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(dir=target) as archive:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                while piece := response.read(_PIECE_BYTES):
                    digest.update(piece)
                    archive.write(piece)
        except (OSError, ValueError) as error:
            print(f"weights: {url}: {error}", file=sys.stderr)
            return 1
        if digest.hexdigest() != sha256:
            found = digest.hexdigest()
            print(f"weights: {url}: sha256 is {found}, expected {sha256}", file=sys.stderr)
            return 1
        archive.seek(0)
        with tarfile.open(fileobj=archive) as packed:
            packed.extractall(target, filter="data")
    kept.write_text(sha256 + "\n")
    total, _, free = shutil.disk_usage(target)
    print(f"weights: {sha256[:12]} unpacked; {free >> 20} of {total >> 20} MiB are free")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
