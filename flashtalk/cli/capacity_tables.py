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
from flashtalk.parallel.fleet import CHUNK_MS, RANKS, Fleet, chunk_times, fleets
from flashtalk.parallel.layout import choose_layout
from flashtalk.parallel.step_time import DIT, REPORT_COMPILED, Link, OneDevice, step_ms, vae_ms
from flashtalk.presets import PUBLISHED
from flashtalk.streaming import parse_size_hw, preset_spec
from flashtalk.terminal import report_console

_SHOWN, _MOST_SESSIONS = 8, 100_000
_LEAST, _MOST = 0.001, 1_000_000
_LONG, _SHORT = ("step_ms", "encode_ms", "decode_ms"), ("audio_ms", "other_ms")


def capacity(args: argparse.Namespace) -> int:
    """Writes the JSON, prints both tables; returns the exit code."""
    size_hw = parse_size_hw(args.size, spec=preset_spec(PUBLISHED))
    _check(args)
    one = _given(args)
    link = Link()
    if args.link_gb_s is not None:
        link = dataclasses.replace(link, gigabytes_per_s=args.link_gb_s)
    if args.exchange_us is not None:
        link = dataclasses.replace(link, exchange_us=args.exchange_us)
    rows = [_row(one, link, size_hw, ranks, args) for ranks in RANKS]
    plans = fleets(
        one, link, size_hw, args.steps, args.sessions, args.busy_share, exact=not args.windows
    )
    if args.out is not None:
        document = {
            "format": 1,
            "modelled": True,
            "one_device_ms": dataclasses.asdict(one),
            "link": dataclasses.asdict(link),
            "size": args.size,
            "steps": args.steps,
            "ranks": rows,
            "sessions": args.sessions,
            "fleets": [dataclasses.asdict(plan) | {"devices": plan.devices} for plan in plans],
        }
        save_report(document, args.out)
    console = report_console()
    console.print(_over_ranks(rows, args.size))
    console.print(_plans(plans[:_SHOWN], args.sessions))
    if not plans:
        console.print(
            "no pod within one host reaches real time: a chunk takes longer than its duration"
        )
    if args.out is not None:
        console.print(f"{args.out}: written", highlight=False, soft_wrap=True, markup=False)
    return 0


def _given(args: argparse.Namespace) -> OneDevice:
    """Returns the report's times unless others are given."""
    given = {name: getattr(args, name) for name in (*_LONG, *_SHORT)}
    return dataclasses.replace(
        REPORT_COMPILED, **{name: value for name, value in given.items() if value is not None}
    )


def _check(args: argparse.Namespace) -> None:
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
    exact, layout = not args.windows, choose_layout(ranks, DIT.num_heads)
    times = chunk_times(one, link, size_hw, args.steps, ranks, ranks, exact=exact)
    return {
        "ranks": ranks,
        "ulysses": layout.ulysses,
        "ring": layout.ring,
        "encode_ms": vae_ms(one, ranks, size_hw, decode=False, exact=exact),
        "decode_ms": vae_ms(one, ranks, size_hw, decode=True, exact=exact),
        "step_ms": step_ms(one, ranks, size_hw, link),
        "cycle_ms": times.cycle_ms,
        "fps": times.fps,
        "real_time_factor": times.cycle_ms / CHUNK_MS,
    }


def _over_ranks(rows: list[dict[str, float]], size: str) -> Table:
    table = Table(title=f"14B, {size}, modelled: one session by number of GPUs")
    for heading in (
        "GPUs",
        "Ulysses x ring",
        "encode ms",
        "decode ms",
        "DiT step ms",
        "cycle ms",
        "frames/s",
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
        "sessions per GPU",
        "compute latency ms",
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
