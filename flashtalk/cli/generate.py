"""``flashtalk generate``: generates an MP4 from a portrait and a sound file, in one process."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.presets import PRESET_HELP


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``generate`` to the commands."""
    parser = subparsers.add_parser(
        "generate",
        help="a portrait and a sound file become an MP4",
        description="Make a portrait talk: picture and speech in, MP4 (H.264, AAC) out.",
        allow_abbrev=False,
    )
    parser.add_argument("--image", required=True, type=Path, help="portrait, any picture")
    parser.add_argument("--audio", required=True, type=Path, help="speech, any sound file")
    parser.add_argument("--out", required=True, type=Path, help="video to write, *.mp4")
    parser.add_argument("--preset", default="tiny", help=PRESET_HELP)
    parser.add_argument("--weights", type=Path, help="folder of the weights; tiny brings its own")
    parser.add_argument(
        "--face",
        metavar="L,T,R,B",
        help="crop to head and shoulders around this box of the face, shares of width and height",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same video (default 0)")
    parser.add_argument("--size", help="WxH in pixels, multiples of 16 (Lite: 32)")
    parser.add_argument("--steps", type=int, help="network evaluations per chunk")
    parser.add_argument("--prompt", help="what the scene is, in words; not for FlashHead")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, ...")
    parser.add_argument("--dtype", default="auto", help="auto (default), float32 or bfloat16")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Generates the video."""
    from flashtalk.cli.generation import generate

    return generate(args)
