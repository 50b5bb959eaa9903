"""The tables of ``flashtalk bench capacity``: step times over ranks, and fleets."""

from __future__ import annotations

import argparse
import dataclasses

from rich.table import Table

from flashtalk.bounds import check_above, check_between
from flashtalk.cli.limits import (
    MOST_STEPS,
    check_report,
    make_folder,
    save_report,
)
from flashtalk.errors import InputError
from flashtalk.parallel.device_times import DEVICE_TIMES, DeviceTimes
from flashtalk.parallel.fleet import Fleet, chunk_times, fleets
from flashtalk.parallel.layout import choose_layout
from flashtalk.parallel.planned import PlannedPreset, planned_preset
from flashtalk.parallel.step_time import Link, OneDevice, step_ms, vae_ms
from flashtalk.streaming import parse_size_hw
from flashtalk.terminal import report_console

_SHOWN, _MOST_SESSIONS = 8, 100_000
_LEAST, _MOST = 0.001, 1_000_000
_LONG, _SHORT = ("step_ms", "encode_ms", "decode_ms"), ("audio_ms", "other_ms")


def capacity(args: argparse.Namespace) -> int:
    """Writes the JSON, prints both tables; returns the exit code."""
    planned = planned_preset(args.preset)
    size_hw = planned.size_hw
    if args.size is not None:
        size_hw = parse_size_hw(args.size, spec=planned.spec)
    size = f"{size_hw[1]}x{size_hw[0]}"
    _check(args, planned)
    default = DEVICE_TIMES[planned.name]
    one, link, source = _given(args, default)
    rows = [_row(one, link, size_hw, ranks, args) for ranks in planned.dit_ranks]
    plans = fleets(
        one, link, size_hw, args.steps, args.sessions, args.busy_share, exact=not args.windows
    )
    if args.out is not None:
        document = {
            "format": 1,
            "modelled": True,
            "preset": planned.name,
            "source": source,
            "one_device_ms": {name: getattr(one, name) for name in (*_LONG, *_SHORT)}
            | {"size_hw": planned.size_hw},
            "link": dataclasses.asdict(link),
            "size": size,
            "steps": args.steps,
            "ranks": rows,
            "sessions": args.sessions,
            "fleets": [dataclasses.asdict(plan) | {"devices": plan.devices} for plan in plans],
        }
        save_report(document, args.out)
    console = report_console()
    console.print(_over_ranks(rows, planned, size))
    console.print(_plans(plans[:_SHOWN], args.sessions))
    if not plans:
        console.print(
            "no pod within one host reaches real time: a chunk takes longer than its duration"
        )
    console.print(f"Modelled. Times of one GPU: {source}.", highlight=False)
    if args.out is not None:
        console.print(f"{args.out}: written", highlight=False, soft_wrap=True, markup=False)
    return 0


def _given(args: argparse.Namespace, default: DeviceTimes) -> tuple[OneDevice, Link, str]:
    """Returns times and link, the preset's where none are given, and the origin of the times."""
    options = {name: getattr(args, name) for name in (*_LONG, *_SHORT)}
    given = {name: value for name, value in options.items() if value is not None}
    links = {"gigabytes_per_s": args.link_gb_s, "exchange_us": args.exchange_us}
    one = dataclasses.replace(default.one, **given)
    link = dataclasses.replace(
        default.link, **{name: value for name, value in links.items() if value is not None}
    )
    if not given:
        return one, link, default.source
    named = ", ".join("--" + name.replace("_", "-") for name in given)
    if len(given) == len(options):
        return one, link, f"{named} as given"
    return one, link, f"{named} as given; the others: {default.source}"


def _check(args: argparse.Namespace, planned: PlannedPreset) -> None:
    if args.windows and not planned.sliced_vae:
        raise InputError("windows", planned.name, "a preset whose VAE runs on several ranks")
    # Not exactly zero, since it is a divisor.
    above, at_least = f"above 0, at most {_MOST}", f"at least 0, at most {_MOST}"
    for name in (*_LONG, "link_gb_s"):
        check_between(name, getattr(args, name), _LEAST, _MOST, above)
    for name in (*_SHORT, "exchange_us"):
        check_between(name, getattr(args, name), 0, _MOST, at_least)
    check_above("busy share", args.busy_share, 1)
    check_between("steps", args.steps, 1, MOST_STEPS, f"at least 1, at most {MOST_STEPS}")
    check_between("sessions", args.sessions, 1, _MOST_SESSIONS)
    make_folder(args.out)
    check_report(args.out)


def _row(
    one: OneDevice, link: Link, size_hw: tuple[int, int], ranks: int, args: argparse.Namespace
) -> dict[str, float]:
    planned = one.planned
    exact, layout = not args.windows, choose_layout(ranks, planned.network.num_heads)
    times = chunk_times(one, link, size_hw, args.steps, ranks, ranks, exact=exact)
    return {
        "ranks": ranks,
        "ulysses": layout.ulysses,
        "ring": layout.ring,
        "encode_ms": vae_ms(one, ranks, size_hw, decode=False, exact=exact),
        "decode_ms": vae_ms(one, ranks, size_hw, decode=True, exact=exact),
        "step_ms": step_ms(one, ranks, size_hw, link),
        "cycle_ms": times.cycle_ms,
        "fps": planned.fps(times.cycle_ms),
        "real_time_factor": times.cycle_ms / planned.chunk_ms,
    }


def _over_ranks(rows: list[dict[str, float]], planned: PlannedPreset, size: str) -> Table:
    table = Table(title=f"{planned.name}, {size}, modelled: one session by number of GPUs")
    for heading in (
        "GPUs",
        "Ulysses x ring",
        "encode ms",
        "decode ms",
        "DiT step ms",
        "cycle ms",
        "fps",
        "RTF",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = [f"{row[key]:.0f}" for key in ("encode_ms", "decode_ms", "step_ms", "cycle_ms")]
        layout = f"{row['ulysses']} x {row['ring']}"
        rates = f"{row['fps']:.1f}", f"{row['real_time_factor']:.2f}"
        table.add_row(str(row["ranks"]), layout, *numbers, *rates)
    return table


def _plans(plans: list[Fleet], sessions: int) -> Table:
    table = Table(title=f"fleets for {sessions} sessions, fewest GPUs first")
    for heading in (
        "GPUs",
        "DiT pods",
        "VAE pods",
        "keeps",
        "per GPU",
        "latency ms",
    ):
        table.add_column(heading, justify="right")
    for plan in plans:
        vae = f"{plan.vae_pods} x {plan.vae_ranks}" if plan.vae_ranks else "in the DiT pods"
        table.add_row(
            str(plan.devices),
            f"{plan.dit_pods} x {plan.dit_ranks}",
            vae,
            str(plan.sessions),
            f"{plan.sessions / plan.devices:.2f}",
            f"{plan.times.cycle_ms:.0f}",
        )
    return table
