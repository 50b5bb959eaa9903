"""``flashtalk bench capacity``: how many GPUs keep how many sessions, from one GPU's times.

Nothing is measured: the times are the report's unless others are given (docs/parallelism.md).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flashtalk.errors import InputError
from flashtalk.parallel.fleet import RANKS, Fleet, chunk_times, fleets
from flashtalk.parallel.layout import choose_layout
from flashtalk.parallel.step_time import REPORT_COMPILED, Link, OneDevice, step_ms, vae_ms
from flashtalk.streaming import StreamSpec, parse_size_hw

_HEADS, _SHOWN, _MOST_SESSIONS = 40, 8, 100_000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``capacity`` to ``bench``."""
    parser = subparsers.add_parser(
        "capacity",
        help="plan a fleet for the 14B preset from one GPU's times",
        description="Step times over ranks, and the fleets that keep so many sessions. A model, "
        "not a measurement; the defaults are the report's H800.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    times = dataclasses.asdict(REPORT_COMPILED)
    for name, text in (
        ("step_ms", "one evaluation of the transformer"),
        ("encode_ms", "5 motion frames"),
        ("decode_ms", "33 frames"),
        ("audio_ms", "speech features of a chunk"),
        ("other_ms", "everything else of a chunk"),
    ):
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=float, default=times[name], metavar="MS",
                            help=f"on one GPU at 720x416: {text}")  # fmt: skip
    parser.add_argument("--steps", type=int, default=4, help="evaluations per chunk")
    parser.add_argument("--size", default="720x416", help="WxH in pixels, multiples of 16")
    parser.add_argument("--link-gb-s", type=float, default=Link().gigabytes_per_s,
                        help="what a GPU sends per second")  # fmt: skip
    parser.add_argument("--exchange-us", type=float, default=Link().exchange_us,
                        help="what every exchange costs at least")  # fmt: skip
    parser.add_argument("--sessions", type=int, default=8, help="that the fleet has to keep")
    parser.add_argument("--busy-share", type=float, default=0.8,
                        help="of a pod's time that sessions may use")  # fmt: skip
    parser.add_argument("--windows", action="store_true",
                        help="a VAE of the published overlapping windows")  # fmt: skip
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print both tables, write the JSON."""
    size_hw = parse_size_hw(args.size)
    StreamSpec().latent_size(*size_hw)
    _check(args)
    one = OneDevice(args.step_ms, args.encode_ms, args.decode_ms, args.audio_ms, args.other_ms)
    link = Link(args.link_gb_s, args.exchange_us)
    rows = [_row(one, link, size_hw, ranks, args) for ranks in RANKS]
    plans = fleets(one, link, size_hw, args.steps, args.sessions, args.busy_share,
                   exact=not args.windows)  # fmt: skip
    console = Console()
    console.print(_over_ranks(rows, args.size))
    console.print(_plans(plans[:_SHOWN], args.sessions))
    if not plans:
        console.print("no pod of one host keeps a session: a chunk takes longer than it plays")
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
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document, indent=2) + "\n")
        console.print(f"{args.out}: written", highlight=False, soft_wrap=True)
    return 0


def _check(args: argparse.Namespace) -> None:
    for name in ("step_ms", "encode_ms", "decode_ms", "link_gb_s"):
        if getattr(args, name) <= 0:
            raise InputError(name, getattr(args, name), "above 0")
    for name in ("audio_ms", "other_ms", "exchange_us"):
        if getattr(args, name) < 0:
            raise InputError(name, getattr(args, name), "at least 0")
    if args.steps < 1:
        raise InputError("steps", args.steps, "at least 1")
    if not 1 <= args.sessions <= _MOST_SESSIONS:
        raise InputError("sessions", args.sessions, f"1 .. {_MOST_SESSIONS}")


def _row(
    one: OneDevice, link: Link, size_hw: tuple[int, int], ranks: int, args: argparse.Namespace
) -> dict[str, float]:
    exact, layout = not args.windows, choose_layout(ranks, _HEADS)
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
        "real_time_factor": times.cycle_ms / (28 * 40),
    }


def _over_ranks(rows: list[dict[str, float]], size: str) -> Table:
    table = Table(title=f"14B, {size}, modelled: one session on so many GPUs")
    for heading in ("GPUs", "Ulysses x ring", "encode ms", "decode ms", "DiT step ms", "cycle ms",
                    "frames/s", "RTF"):  # fmt: skip
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = [f"{row[key]:.0f}" for key in ("encode_ms", "decode_ms", "step_ms", "cycle_ms")]
        layout = f"{row['ulysses']} x {row['ring']}"
        rates = f"{row['fps']:.1f}", f"{row['real_time_factor']:.2f}"
        table.add_row(str(row["ranks"]), layout, *numbers, *rates)
    return table


def _plans(plans: list[Fleet], sessions: int) -> Table:
    table = Table(title=f"fleets for {sessions} sessions, fewest GPUs first")
    for heading in ("GPUs", "DiT pods", "VAE pods", "keeps", "sessions per GPU",
                    "compute latency ms"):  # fmt: skip
        table.add_column(heading, justify="right")
    for plan in plans:
        vae = f"{plan.vae_pods} x {plan.vae_ranks}" if plan.vae_ranks else "in the DiT pods"
        table.add_row(
            str(plan.devices), f"{plan.dit_pods} x {plan.dit_ranks}", vae, str(plan.sessions),
            f"{plan.sessions / plan.devices:.2f}", f"{plan.times.cycle_ms:.0f}",
        )  # fmt: skip
    return table
