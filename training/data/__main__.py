"""``python -m training.data``: render the splits of SynthTalk into a folder."""

import sys
from dataclasses import replace
from pathlib import Path

from flashtalk.errors import FlashTalkError
from flashtalk.terminal import OneLineParser, guarded, note
from training.data.synthtalk import SynthTalkConfig, build_cache

PARTS: dict[str, SynthTalkConfig] = {
    "train": SynthTalkConfig("train", 1200),
    "val": SynthTalkConfig("val", 32),
    "test": SynthTalkConfig("test", 32),
    "long": SynthTalkConfig("test", 8, 60.0, long_silences=False),
}


def main(arguments: list[str] | None = None) -> int:
    """Builds the requested splits; skips finished ones, resumes interrupted ones."""
    parser = OneLineParser(prog="python -m training.data", description=__doc__)
    parser.add_argument(
        "out", type=Path, help="output folder; each part is written to its own subfolder"
    )
    parser.add_argument(
        "parts", nargs="*", default=list(PARTS), help=f"parts to build: {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--count", type=int, help="number of utterances per part (default: of the part)"
    )
    parser.add_argument("--seconds", type=float, help="length of an utterance, seconds")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=(96, 96))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}: one of {', '.join(PARTS)}")
    try:
        for part in given.parts:
            config = PARTS[part]
            config = replace(
                config,
                count=config.count if given.count is None else given.count,
                seconds=config.seconds if given.seconds is None else given.seconds,
                size_hw=(given.size[0], given.size[1]),
                seed=given.seed,
            )
            print(build_cache(config, given.out / part))
    except FlashTalkError as error:
        note(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("training.data", main))
