"""Lay out the least of this system in which a virtual environment runs: Python and its libraries.

usage: python make_runtime_root.py ROOT VENV

For a container without shell and package manager, whose layers hold nothing that is not used.
Runs in the container that made the environment; needs ldd and ldconfig, which belong to glibc.
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
    """Fill ROOT, which is made."""
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
    """A file in its place, and every link on the way to it."""
    place = Path(os.path.realpath(path.parent), path.name)
    target = root / place.relative_to("/")
    if leaving_out is None or not place.is_relative_to(leaving_out):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.exists() or target.is_symlink()):
            shutil.copy2(place, target, follow_symlinks=False)
    if place.is_symlink():
        put(root, place.parent / place.readlink(), leaving_out)


def needed_by(programs: Iterable[Path]) -> set[Path]:
    """The libraries that programs and other libraries load."""
    found: set[Path] = set()
    for path in programs:
        # Other than zero for what is no program: a text named .so, for instance.
        listed = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
        if "not found" in listed.stdout:
            sys.exit(f"{path}: {listed.stdout}")
        found |= {Path(name) for name in re.findall(r"(/\S+) \(0x", listed.stdout)}
    return found


def settle(root: Path) -> None:
    """What the C library reads: users, names of hosts, where libraries are."""
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
