"""`flashtalk doctor` tells the truth about memory, presets and codecs."""

import argparse
import io
import json

import pytest
from rich.console import Console

from flashtalk.cli import doctor, doctor_report
from flashtalk.cli.footprint import PRESETS, ROOM_BYTES, Footprint, footprint
from flashtalk.cli.machine import codec_available, inspect_machine, memory_bytes, package_version

MEMINFO = "MemTotal:       16000 kB\nMemFree:  1 kB\nMemAvailable:    8000 kB\n"


def run_doctor(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["doctor", *arguments])
    code: int = args.run(args)
    return code


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("", (16_384_000, 8_192_000)),
        ("max\n", (16_384_000, 8_192_000)),
        ("10000000\n", (10_000_000, 8_192_000)),
        ("5000000\n", (5_000_000, 5_000_000)),
    ],
)
def test_a_containers_limit_cuts_memory(limit: str, expected: tuple[int, int]) -> None:
    assert memory_bytes(MEMINFO, limit) == expected


def test_missing_packages_and_codecs_are_said_to_be_missing() -> None:
    assert package_version("flashtalk") is not None
    assert package_version("no-such-distribution") is None
    assert codec_available("aac", "w")
    assert not codec_available("no-such-codec", "r")


def test_this_machine_can_write_mp4_and_compute_on_the_cpu() -> None:
    machine = inspect_machine()
    assert all(machine.encoders.values())
    cpu = machine.devices[0]
    assert cpu.name == "cpu"
    assert 0 < cpu.free_bytes <= cpu.memory_bytes
    assert "sdpa" in cpu.attention


def test_a_preset_needs_room_beside_its_weights() -> None:
    found = Footprint("any", {"dit": 500}, weight_bytes=1000)
    assert found.needed_bytes == 1100 + ROOM_BYTES
    assert found.fits(found.needed_bytes)
    assert not found.fits(found.needed_bytes - 1)


def test_the_published_transformer_is_counted_in_full_without_memory() -> None:
    found = footprint("flashtalk-14b")
    # 1633 tensors, 18.88 billion elements: the published files (tests/goldens manifests).
    assert 18.8e9 < found.parameters["dit"] < 18.95e9
    assert found.weight_bytes == 2 * sum(found.parameters.values())


def test_tiny_fits_where_the_published_preset_does_not() -> None:
    tiny, published = footprint("tiny"), footprint("flashtalk-14b")
    assert tiny.fits(4 * doctor_report.GIB)
    assert not published.fits(24 * doctor_report.GIB)


def test_the_licence_of_the_ltx_weights_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor("--json") == 0
    presets = json.loads(capsys.readouterr().out)["presets"]
    noted = {name: found["note"] for name, found in presets.items() if found["note"]}
    assert noted.keys() == {"flashhead-1.3b-lite"}
    assert "RAIL-M" in noted["flashhead-1.3b-lite"]
    assert run_doctor() == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"flashhead-1.3b-lite: {noted['flashhead-1.3b-lite']}." in printed


def test_json_holds_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor("--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["presets"].keys() == PRESETS.keys()
    assert report["presets"]["tiny"]["fits"].keys() == {d["name"] for d in report["devices"]}
    assert report["packages"]["torch"]


def test_the_tables_show_every_preset_and_device() -> None:
    machine = inspect_machine()
    footprints = [Footprint("small", {"dit": 1}, 4), Footprint("huge", {"dit": 1}, 1 << 60)]
    console = Console(file=io.StringIO(), width=200)
    doctor_report.show(machine, footprints, [], console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    (small,) = (line for line in lines if "small" in line)
    (huge,) = (line for line in lines if "huge" in line)
    assert "cpu" in small
    assert "no device here" in huge


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 MiB"), (12 << 20, "12 MiB"), (1 << 30, "1.0 GiB"), (38_654_705_664, "36.0 GiB")],
)
def test_sizes_read_well(size_bytes: int, text: str) -> None:
    assert doctor_report.size_text(size_bytes) == text
