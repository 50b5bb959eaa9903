"""The report of ``flashtalk doctor``, as JSON and as tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from flashtalk.cli.footprint import PRESETS, Footprint, footprint
from flashtalk.cli.kernels import Checked, check_kernels
from flashtalk.cli.machine import Machine, inspect_machine
from flashtalk.presets import LICENCE_NOTES
from flashtalk.terminal import deliver, report_console

GIB = 1 << 30
MIB = 1 << 20


def report(*, as_json: bool) -> int:
    """Inspects the machine and prints the report; returns the exit code."""
    machine = inspect_machine()
    footprints = [footprint(preset) for preset in PRESETS]
    kernels = [found for device in machine.devices for found in check_kernels(device.name)]
    if as_json:
        deliver(json.dumps(as_values(machine, footprints, kernels), indent=2) + "\n")
    else:
        show(machine, footprints, kernels, report_console())
    return int(any(found.harmful for found in kernels))


def as_values(
    machine: Machine, footprints: Sequence[Footprint], kernels: Sequence[Checked]
) -> dict[str, Any]:
    """Returns the report as plain values; sizes are in bytes."""
    presets = {
        found.preset: {
            "parameters": found.parameters,
            "weight_bytes": found.weight_bytes,
            "needed_bytes": found.needed_bytes,
            "fits": {device.name: found.fits(device.free_bytes) for device in machine.devices},
            "note": LICENCE_NOTES.get(found.preset),
        }
        for found in footprints
    }
    checked = [{**dataclasses.asdict(found), "right": found.right} for found in kernels]
    return {**dataclasses.asdict(machine), "presets": presets, "kernels": checked}


def size_text(size_bytes: int) -> str:
    """Formats a size: ``1.5 GiB`` or ``12 MiB``."""
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:.1f} GiB"
    return f"{size_bytes / MIB:.0f} MiB"


def _present(names: Mapping[str, bool]) -> str:
    return ", ".join(
        name if there else f"[red]{name} is missing[/red]" for name, there in names.items()
    )


def _espeak(machine: Machine) -> str:
    if machine.espeak_program and machine.espeak_library:
        return f"{machine.espeak_program}, {machine.espeak_library}"
    return "missing; needed only for training and `make examples`"


def _machine_table(machine: Machine) -> Table:
    table = Table(title="This machine", show_header=False, title_justify="left")
    table.add_row("system", machine.system)
    table.add_row("Python", machine.python)
    for name, version in machine.packages.items():
        table.add_row(name, version or "[red]missing[/red]")
    if machine.emulates_bfloat16:
        table.add_row("bfloat16", "no CPU instructions; matrix products run in float32")
    table.add_row("CPU cores", f"{machine.cpu_cores}, torch uses {machine.torch_threads}")
    table.add_row("writes", _present(machine.encoders))
    table.add_row("reads", _present(machine.decoders))
    table.add_row("espeak-ng", _espeak(machine))
    return table


def _device_table(machine: Machine) -> Table:
    table = Table(title="Devices", title_justify="left")
    for heading in ("device", "model", "memory", "free", "attention, fastest first"):
        table.add_column(heading)
    for device in machine.devices:
        table.add_row(
            device.name,
            device.model,
            size_text(device.memory_bytes),
            size_text(device.free_bytes),
            ", ".join(device.attention),
        )
    return table


def _preset_table(machine: Machine, footprints: Sequence[Footprint]) -> Table:
    table = Table(title="Presets", title_justify="left")
    for heading in ("preset", "parameters", "weights", "needed", "fits on"):
        table.add_column(heading)
    for found in footprints:
        places = [device.name for device in machine.devices if found.fits(device.free_bytes)]
        table.add_row(
            found.preset,
            f"{sum(found.parameters.values()) / 1e6:,.1f} M",
            size_text(found.weight_bytes),
            size_text(found.needed_bytes),
            ", ".join(places) or "[yellow]no device here[/yellow]",
        )
    return table


def _kernel_table(wrong: Sequence[Checked]) -> Table:
    table = Table(title="Wrong kernels", title_justify="left")
    for heading in ("kernel", "models", "device", "precision", "error", "consequence"):
        table.add_column(heading)
    for found in wrong:
        follows = "[red]results are wrong[/red]" if found.used else "float32 is used instead"
        error = found.refusal or f"{found.error:.3f}"
        table.add_row(found.form, found.where, found.device, found.dtype, error, follows)
    return table


def _show_kernels(kernels: Sequence[Checked], console: Console) -> None:
    wrong = [found for found in kernels if not found.right]
    if wrong:
        console.print(_kernel_table(wrong))
    if any(found.harmful for found in wrong):
        console.print(
            "[red]A kernel in use gives wrong results on this machine.[/red] Try another "
            "precision (--dtype), another version of torch, or on Intel CPUs "
            "ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16."
        )
    kept = sum(found.right for found in kernels)
    console.print(f"kernels: {kept} of {len(kernels)} tested kernels give correct results.")


def show(
    machine: Machine,
    footprints: Sequence[Footprint],
    kernels: Sequence[Checked],
    console: Console,
) -> None:
    """Prints the report as tables."""
    console.print(_machine_table(machine))
    console.print(_device_table(machine))
    _show_kernels(kernels, console)
    console.print(_preset_table(machine, footprints))
    for found in footprints:
        if (note := LICENCE_NOTES.get(found.preset)) is not None:
            console.print(f"{found.preset}: {note}.", highlight=False)
    console.print("needed = weights + 10 % + 1 GiB: an estimate for one device.")
