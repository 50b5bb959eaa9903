"""The rules of the house that no linter knows: sizes, names, paths, promises of the README."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

LONGEST_FILE = 400
GENERATED = "flashtalk/v1/"
BANNED_STEMS = frozenset(
    {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
)
BANNED_FOLDERS = BANNED_STEMS - {"base"}
# Built from pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = tuple(f"/{name}/" for name in ("work", "root", "home/user", "opt/wheels"))
BINARY = frozenset(
    {".binpb", ".png", ".gif", ".jpg", ".wav", ".mp4", ".safetensors", ".pth", ".ico"}
    | {".heic", ".mov", ".raw", ".webm"}
)
TORCH_FREE_ROOMS = (
    "flashtalk.errors",
    "flashtalk.pauses",
    "flashtalk.streaming",
    "flashtalk.media",
)
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/getting-started.md", "docs/architecture.md")


@pytest.fixture(scope="module")
def tracked(repo_root: Path) -> list[Path]:
    """Every file that git tracks, relative to the root, and not deleted."""
    listing = run(["git", "ls-files", "-z"], repo_root)
    files = [Path(name) for name in listing.split("\0") if name]
    return [file for file in files if (repo_root / file).is_file()]


def run(command: Sequence[str], folder: Path) -> str:
    """Output of a command that must succeed; its error text is in the assertion."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_targets(repo_root: Path) -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (repo_root / "Makefile").read_text(), re.MULTILINE))


def test_no_python_file_is_longer_than_the_wall(repo_root: Path, tracked: list[Path]) -> None:
    too_long = {
        str(file): lines
        for file in tracked
        if file.suffix == ".py" and not str(file).startswith(GENERATED)
        if (lines := len((repo_root / file).read_text().splitlines())) > LONGEST_FILE
    }
    assert too_long == {}


def test_every_file_is_named_after_its_subject(tracked: list[Path]) -> None:
    banned = [
        str(file)
        for file in tracked
        if file.suffix == ".py"
        and (file.stem in BANNED_STEMS or BANNED_FOLDERS.intersection(file.parent.parts))
    ]
    assert banned == []


def test_every_test_file_has_a_name_of_its_own(tracked: list[Path]) -> None:
    """Two of one name in folders that are no packages hide each other."""
    names = [file.name for file in tracked if file.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)


def test_no_file_names_a_path_of_one_machine(repo_root: Path, tracked: list[Path]) -> None:
    named = [
        f"{file}: {path}"
        for file in tracked
        if file.suffix not in BINARY
        for path in MACHINE_PATHS
        if path.encode() in (repo_root / file).read_bytes()
    ]
    assert named == []


def test_every_make_command_in_the_documents_exists(repo_root: Path) -> None:
    targets = make_targets(repo_root)
    for document in DOCUMENTS:
        lines = (repo_root / document).read_text().splitlines()
        text = "\n".join(line for line in lines if "*planned*" not in line)
        named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE))
        assert named <= targets, f"{document}: {sorted(named - targets)}"


def test_the_readme_shows_the_two_commands_and_ci_runs_its_test_command(repo_root: Path) -> None:
    readme = (repo_root / "README.md").read_text()
    assert re.search(r"^make demo", readme, re.MULTILINE)
    assert re.search(r"^make test", readme, re.MULTILINE)
    ci = (repo_root / ".ci" / "run").read_text()
    assert re.findall(r"\bmake .*", ci) == ["make test"]


def test_links_between_documents_lead_somewhere(repo_root: Path, tracked: list[Path]) -> None:
    broken = []
    for document in (file for file in tracked if file.suffix == ".md"):
        text = (repo_root / document).read_text()
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            if not (repo_root / document.parent / target).exists():
                broken.append(f"{document}: {target}")
    assert broken == []


def test_every_make_target_explains_itself(repo_root: Path) -> None:
    shown = run(["make", "--no-print-directory", "help"], repo_root)
    # Names of files, such as the environment's python, are targets without a line of help.
    assert make_targets(repo_root) == set(re.findall(r"^  make (\S+)", shown, re.MULTILINE))


@pytest.mark.parametrize("room", TORCH_FREE_ROOMS)
def test_the_torch_free_half_imports_where_torch_is_missing(room: str, repo_root: Path) -> None:
    """Whatever a room's modules reach, third-party packages included."""
    program = (
        "import importlib, pkgutil, sys\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"
        f"room = importlib.import_module({room!r})\n"
        "for found in pkgutil.walk_packages(getattr(room, '__path__', []), room.__name__ + '.'):\n"
        "    importlib.import_module(found.name)\n"
    )
    run([sys.executable, "-c", program], repo_root)


def test_the_gateway_and_the_client_are_installed_without_torch(repo_root: Path) -> None:
    for lock in ("gateway", "client"):
        text = (repo_root / "requirements" / f"{lock}.txt").read_text()
        assert not re.search(r"^(torch|transformers)\b", text, re.MULTILINE), lock


def test_locks_hold_no_cuda_package_and_agree_with_the_constraints(repo_root: Path) -> None:
    folder = repo_root / "requirements"
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (folder / "constraints.txt").read_text(), re.M))
    excluded = re.findall(r"^[a-z][\w-]+$", (folder / "cuda-excludes.txt").read_text(), re.M)
    assert "torch" in pinned
    for lock in folder.glob("*.txt"):
        versions = dict(re.findall(r"^(\S+)==(\S+)$", lock.read_text(), re.M))
        if not versions:
            continue
        cuda = [name for name in versions if name in excluded or name.startswith("nvidia-")]
        assert cuda == [], lock.name
        shared = pinned.keys() & versions.keys()
        assert {name: versions[name] for name in shared} == {name: pinned[name] for name in shared}


def test_every_extra_of_a_program_has_a_lock(repo_root: Path) -> None:
    project = tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]
    parts = {
        "media",
        "engine",
        "wire",
        "serving",
        "cli",
    }  # pieces of the others, never installed alone
    locks = {lock.stem for lock in (repo_root / "requirements").glob("*.txt")}
    assert project["optional-dependencies"].keys() - parts <= locks


def test_the_wheel_holds_the_library_and_nothing_else(repo_root: Path, tmp_path: Path) -> None:
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], repo_root)
    (wheel,) = tmp_path.glob("flashtalk-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"flashtalk"}
    assert "flashtalk/streaming/spec.py" in names


def test_the_walks_of_the_architecture_name_files_that_are_there(repo_root: Path) -> None:
    text = (repo_root / "docs/architecture.md").read_text()
    walks = text.split("## Two walks through the code")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)`", walks, re.MULTILINE)
    assert len(named) > 20
    assert len(set(named)) == len(named), "each file is met once"
    assert not [name for name in named if not (repo_root / name).is_file()]
