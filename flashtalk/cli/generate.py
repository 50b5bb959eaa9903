"""``flashtalk generate``: generates an MP4 from a portrait and a sound file, in one process."""

from __future__ import annotations

import argparse
from pathlib import Path

from flashtalk.cli.overlay_option import add_overlay_option
from flashtalk.presets import PRESET_HELP


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``generate`` to the commands."""
    parser = subparsers.add_parser(
        "generate",
        help="generate an MP4 from a portrait and an audio file",
        description="Generate a talking video from a portrait and speech. Writes MP4 (H.264, AAC).",
        allow_abbrev=False,
    )
    parser.add_argument("--image", required=True, type=Path, help="portrait, a picture file")
    parser.add_argument("--audio", required=True, type=Path, help="speech, an audio file")
    parser.add_argument("--out", required=True, type=Path, help="output video, *.mp4")
    parser.add_argument("--preset", default="tiny", help=PRESET_HELP)
    parser.add_argument(
        "--weights", type=Path, help="folder of the weights (default for tiny: the shipped weights)"
    )
    add_overlay_option(parser)
    parser.add_argument(
        "--face",
        metavar="L,T,R,B",
        help="box of the face, fractions of width and height; crops to head and shoulders",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="random seed; the same seed gives the same video (default 0)",
    )
    parser.add_argument(
        "--size",
        help="video size WxH in pixels, multiples of 16 (Lite: 32); default: of the weights",
    )
    parser.add_argument(
        "--steps", type=int, help="denoising steps per chunk (default: of the weights)"
    )
    parser.add_argument("--prompt", help="text prompt that describes the scene; not for FlashHead")
    parser.add_argument(
        "--device", default="auto", help="device: auto (default), cpu, cuda, cuda:1, ..."
    )
    parser.add_argument(
        "--dtype", default="auto", help="precision: auto (default), float32 or bfloat16"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Generates the video."""
    from flashtalk.cli.generation import generate

    return generate(args)
