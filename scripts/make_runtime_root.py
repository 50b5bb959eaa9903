"""Copies the minimum that a virtual environment needs into a root folder: Python and its libraries.

usage: python make_runtime_root.py ROOT VENV

For a container without shell and package manager. Runs in the container that created the
environment; needs ldd and ldconfig (glibc).
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

# What a service never imports of the standard library, or cannot without a screen.
LEFT_OUT = shutil.ignore_patterns(
    "test",
    "tests",
    "idlelib",
    "ensurepip",
    "lib2to3",
    "pydoc_data",
    "tkinter",
    "turtledemo",
    "turtle.py",
    "config-*",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "_tkinter*",
    "_test*",
    "_ctypes_test*",
    "xxlimited*",
    "distutils",
    "_dbm*",
    "_gdbm*",
    "nis.*",
)
# Loaded by name when they are needed, so that no program lists them.
LOADED_LATE = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
ETC = {
    "passwd": "root:x:0:0:root:/:/none\nflashtalk:x:10001:10001:flashtalk:/tmp:/none\n",
    "group": "root:x:0:\nflashtalk:x:10001:\n",
    "nsswitch.conf": "hosts: files dns\n",
}


def main() -> None:
    """Creates and fills ROOT."""
    root, venv = Path(sys.argv[1]), Path(sys.argv[2])
    for name in ("bin", "lib", "lib64", "sbin", "usr", "etc", "tmp"):
        above = Path("/", name)
        if above.is_symlink():
            root.mkdir(exist_ok=True)
            (root / name).symlink_to(above.readlink())
    put(root, venv / "bin" / "python", leaving_out=venv)
    stdlib = Path(sysconfig.get_path("stdlib"))
    copied = root / stdlib.relative_to("/")
    shutil.copytree(stdlib, copied, ignore=LEFT_OUT)
    compileall.compile_dir(copied, quiet=2, stripdir=str(root), prependdir="/")
    interpreter = (venv / "bin" / "python").resolve()
    programs = [interpreter, *copied.rglob("*.so"), *venv.rglob("*.so*")]
    libraries = needed_by(programs)
    folder = next(path.parent for path in libraries if path.name == "libc.so.6")
    libraries |= {folder / name for name in LOADED_LATE if (folder / name).exists()}
    for library in sorted(libraries):
        if not library.is_relative_to(venv):
            put(root, library)
    settle(root)


def put(root: Path, path: Path, leaving_out: Path | None = None) -> None:
    """Copies a file to its place, with every symbolic link on the way to it."""
    place = Path(os.path.realpath(path.parent), path.name)
    target = root / place.relative_to("/")
    if leaving_out is None or not place.is_relative_to(leaving_out):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.exists() or target.is_symlink()):
            shutil.copy2(place, target, follow_symlinks=False)
    if place.is_symlink():
        put(root, place.parent / place.readlink(), leaving_out)


def needed_by(programs: Iterable[Path]) -> set[Path]:
    """Returns the libraries that programs and other libraries load."""
    found: set[Path] = set()
    for path in programs:
        # The exit code is not zero for other files, such as a text named .so.
        listed = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
        if "not found" in listed.stdout:
            sys.exit(f"{path}: {listed.stdout}")
        found |= {Path(name) for name in re.findall(r"(/\S+) \(0x", listed.stdout)}
    return found


def settle(root: Path) -> None:
    """Writes the files that the C library reads: users, host names, paths of libraries."""
    etc = root / "etc"
    etc.mkdir(exist_ok=True)
    for name, text in ETC.items():
        (etc / name).write_text(text)
    if CERTIFICATES.exists():
        (root / CERTIFICATES.parent.relative_to("/")).mkdir(parents=True)
        shutil.copy2(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    if Path("/etc/ld.so.conf").exists():
        shutil.copy2("/etc/ld.so.conf", etc)
        shutil.copytree("/etc/ld.so.conf.d", etc / "ld.so.conf.d")
    subprocess.run(["ldconfig", "-r", str(root)], check=True)
    tmp = root / "tmp"
    tmp.mkdir()
    tmp.chmod(0o1777)


if __name__ == "__main__":
    main()
