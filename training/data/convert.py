"""``python -m training.data.convert``: creates a manifest of videos from other collections."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flashtalk.errors import FlashTalkError
from flashtalk.terminal import OneLineParser, guarded, note
from training.data.published.conversion import Conversion
from training.data.published.plain import convert_folder, convert_shards
from training.data.published.speakervid import convert_speakervid
from training.data.published.talkvid import convert_talkvid
from training.data.videos.manifest import write_manifest


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns 0 with at least one entry, else 1, and 2 for bad arguments."""
    given = _parser().parse_args(arguments)
    try:
        conversion = _converted(given)
        if conversion.entries:
            write_manifest(given.out, conversion.entries)
    except FlashTalkError as error:
        note(str(error))
        return 2
    _report(conversion, given.out)
    return 0 if conversion.entries else 1


def _converted(given: argparse.Namespace) -> Conversion:
    folder = given.out.parent
    if given.kind == "folder":
        return convert_folder(given.videos, folder)
    if given.kind == "webdataset":
        return convert_shards(given.shards, folder)
    if given.kind == "talkvid":
        return convert_talkvid(given.metadata, given.videos, folder)
    return convert_speakervid(
        given.annotations,
        given.videos,
        folder,
        captions=given.captions,
        caption_fields=given.caption_field,
        listeners=given.listeners,
    )


def _report(conversion: Conversion, out: Path) -> None:
    made = len(conversion.entries)
    print(f"{made} entries in {out}" if made else "no entries; no manifest was written")
    if not conversion.missed and not conversion.notes:
        return
    table = Table()
    table.add_column("records")
    table.add_column("count", justify="right")
    for why, count in conversion.missed.most_common():
        table.add_row(f"skipped: {why}", str(count))
    for what, count in conversion.notes.most_common():
        table.add_row(f"converted with note: {what}", str(count))
    Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m training.data.convert", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    folder = kinds.add_parser("folder", help="a folder of video files")
    folder.add_argument("videos", type=Path)
    shards = kinds.add_parser("webdataset", help="uncompressed tar shards")
    shards.add_argument("shards", type=Path, nargs="+")
    talkvid = kinds.add_parser("talkvid", help="the downloaded TalkVid data set")
    talkvid.add_argument("metadata", type=Path, help="filtered_video_clips_with_captions.json")
    talkvid.add_argument("videos", type=Path, help="output folder of its download script")
    speakervid = kinds.add_parser("speakervid", help="the downloaded SpeakerVid-5M data set")
    speakervid.add_argument("annotations", type=Path, help="the extracted folder merged_anno")
    speakervid.add_argument("videos", type=Path, help="folder of complete videos, VIDEO_ID.mp4")
    speakervid.add_argument("--captions", type=Path, help="folder of caption files, JSON")
    speakervid.add_argument(
        "--caption-field",
        action="append",
        default=[],
        help="field of the caption files to use; may be repeated",
    )
    speakervid.add_argument(
        "--listeners", action="store_true", help="include clips of listening people"
    )
    for kind in (folder, shards, talkvid, speakervid):
        kind.add_argument(
            "--out",
            type=Path,
            required=True,
            help="manifest to write; all videos must be below its folder",
        )
    return parser


if __name__ == "__main__":
    sys.exit(guarded("training.data.convert", main))
