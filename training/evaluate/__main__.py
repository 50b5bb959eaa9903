"""``python -m training.evaluate --weights DIR``: table and pictures of docs/evaluation.md."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from flashtalk.bounds import check_above, check_between
from flashtalk.engine.sampling import SAMPLERS
from flashtalk.errors import FlashTalkError, InputError
from flashtalk.streaming import parse_size_hw, preset_spec
from flashtalk.terminal import OneLineParser, guarded, live_console, note
from training.evaluate.continuous import MARKS_S, Streamer, evaluate_stream
from training.evaluate.course import write_course
from training.evaluate.digests import digest_of_code
from training.evaluate.held_out import ClipSet, open_clips
from training.evaluate.judges import Judges, add_judge_options, digest_of_judges, open_judges
from training.evaluate.kept_readings import KeptReadings
from training.evaluate.probes import DEFAULT_PROBES, Probes
from training.evaluate.reference_clip import ReferenceClips
from training.evaluate.round_trip import open_vae
from training.evaluate.run import EvaluationPlan, HasCodec, RoundTrip, evaluate
from training.evaluate.terminal_tables import print_markdown


@dataclass(frozen=True)
class Amount:
    """Numbers and lengths of clips."""

    short: int
    short_seconds: float
    long: int
    long_seconds: float
    wrong_audio: int
    pictures: int


FULL = Amount(32, 8.0, 8, 60.0, wrong_audio=8, pictures=3)
QUICK = Amount(4, 5.0, 0, 60.0, wrong_audio=1, pictures=1)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the parser; default counts are those of FULL or, with --quick, QUICK."""
    parser = OneLineParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder of the weights")
    parser.add_argument(
        "--vae-only",
        action="store_true",
        help="the folder contains only a VAE; evaluate only the truth rows",
    )
    parser.add_argument(
        "--transformer",
        type=Path,
        help="folder of a transformer that replaces the one in WEIGHTS, for example "
        "WEIGHTS/teacher",
    )
    parser.add_argument("--preset", default="tiny", help="preset of the weights (default tiny)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluation"), help="output folder")
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        help="folder of a SynthTalk cache; may be repeated",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".cache/synthtalk"),
        help="folder for caches that are missing in --data",
    )
    parser.add_argument(
        "--readings",
        type=Path,
        default=Path(".cache/readings"),
        help="folder for cached measurements of the truth, reused for the same clips and VAE "
        "(default %(default)s)",
    )
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument(
        "--size", help="video size WIDTHxHEIGHT of built caches (default: the size of the weights)"
    )
    parser.add_argument("--quick", action="store_true", help="4 clips of 5 s, no long streams")
    parser.add_argument("--short", type=int, help="number of short clips")
    parser.add_argument("--short-seconds", type=float)
    parser.add_argument("--long", type=int, help="number of long streams; 0: none")
    parser.add_argument("--long-seconds", type=float)
    parser.add_argument(
        "--wrong-audio", type=int, help="number of clips that are also generated with wrong audio"
    )
    parser.add_argument(
        "--pictures", type=int, help="number of clips of each kind to draw as pictures"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, help="denoising steps (default: of the weights)")
    parser.add_argument("--sampler", choices=SAMPLERS, help="default: of the weights")
    parser.add_argument("--audio-guidance", type=float, help="default: of the weights")
    parser.add_argument("--color-strength", type=float, help="default: of the weights")
    parser.add_argument("--probes", type=Path, default=DEFAULT_PROBES)
    parser.add_argument(
        "--continuous",
        type=float,
        metavar="SECONDS",
        help="measure one continuous stream of this length instead of the tables; without "
        "--color-strength colour correction is off",
    )
    parser.add_argument(
        "--marks",
        type=float,
        nargs="+",
        default=MARKS_S,
        metavar="SECOND",
        help="times shown on the contact sheet of --continuous, seconds",
    )
    add_judge_options(parser)
    parsed = parser.parse_args(arguments)
    if parsed.continuous is not None and parsed.color_strength is None:
        parsed.color_strength = 0.0
    for name, count in vars(QUICK if parsed.quick else FULL).items():
        if getattr(parsed, name) is None:
            setattr(parsed, name, count)
    return parsed


DEFAULT_SIZE_HW = (96, 96)
_MOST_CLIPS, _LONGEST_S = 100_000, 1_000_000


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Evaluates and prints the report."""
    _check(arguments)
    probes = Probes.load(arguments.probes)
    performer = _performer(arguments)
    judges = open_judges(arguments, probes)
    if arguments.continuous is not None:
        _run_continuous(arguments, performer, judges, probes, console)
        return
    short = _clips(arguments, arguments.short, arguments.short_seconds)
    long: ReferenceClips = ()
    if arguments.long > 0:
        long = _clips(arguments, arguments.long, arguments.long_seconds)
    height, width = short.size_hw
    settings = {
        "weights": arguments.weights,
        "preset": arguments.preset,
        "device": arguments.device,
        "dtype": arguments.dtype,
        "split": short.data.config.split,
        "size": f"{width}x{height}",
        "seconds, short": short.seconds,
        "seconds, long": arguments.long_seconds,
        "seed": arguments.seed,
        **_changes(arguments),
        **_transformer(arguments),
    }
    plan = EvaluationPlan(
        short,
        long,
        wrong_audio=arguments.wrong_audio,
        pictures=arguments.pictures,
        seed=arguments.seed,
        settings=settings,
        judges=judges,
        kept=_kept(arguments, performer, probes, judges),
    )
    evaluate(performer, plan, probes, arguments.out).print(console)
    console.print(f"written to {arguments.out}")


def _run_continuous(
    arguments: argparse.Namespace,
    performer: RoundTrip,
    judges: Judges,
    probes: Probes,
    console: Console,
) -> None:
    if not isinstance(performer, Streamer):
        raise InputError("--continuous", arguments.continuous, "a whole pipeline, not --vae-only")
    clips = _clips(arguments, max(arguments.long, 1), arguments.long_seconds)
    course = evaluate_stream(
        performer,
        clips,
        probes,
        seconds=arguments.continuous,
        judges=judges,
        marks_s=arguments.marks,
        seed=arguments.seed,
    )
    settings = {
        "weights": arguments.weights,
        "seconds": arguments.continuous,
        "seed": arguments.seed,
        **_changes(arguments),
        **_transformer(arguments),
    }
    write_course(course, arguments.out, settings)
    print_markdown(console, (arguments.out / "continuous.md").read_text())
    console.print(f"written to {arguments.out}")


def _check(arguments: argparse.Namespace) -> None:
    """Raises InputError for impossible numbers, before anything is loaded."""
    for name in ("short", "long", "wrong_audio", "pictures"):
        check_between(name, getattr(arguments, name), int(name == "short"), _MOST_CLIPS)
    for name in ("short_seconds", "long_seconds", "continuous"):
        check_above(name, getattr(arguments, name), _LONGEST_S, "seconds")
    check_between("seed", arguments.seed, 0, 2**63 - 1)
    check_between("steps", arguments.steps, 1, 1_000)
    check_between("audio_guidance", arguments.audio_guidance, 0, 100)
    check_between("color_strength", arguments.color_strength, 0, 1)
    for second in arguments.marks:
        check_between("marks", second, 0, _LONGEST_S)
    if arguments.size is not None:
        _size_of(arguments)


def _size_of(arguments: argparse.Namespace) -> tuple[int, int]:
    return parse_size_hw(arguments.size, spec=preset_spec(arguments.preset))


def _performer(arguments: argparse.Namespace) -> RoundTrip:
    if arguments.vae_only:
        return open_vae(arguments.weights, preset_spec(arguments.preset))
    # Imported here: a VAE can be evaluated without the dependencies of a pipeline.
    from training.evaluate.pipeline import open_pipeline

    return open_pipeline(
        arguments.preset,
        arguments.weights,
        device=arguments.device,
        dtype=arguments.dtype,
        changes=_changes(arguments),
        transformer=arguments.transformer,
    )


def _kept(
    arguments: argparse.Namespace, performer: RoundTrip, probes: Probes, judges: Judges
) -> KeptReadings | None:
    """Returns the kept readings of truth and VAE, shared by all students; None for a single VAE."""
    if not isinstance(performer, HasCodec):
        return None
    facts = {
        "code": digest_of_code(),
        "codec": performer.codec_digest,
        "probes": probes.digest,
        "judges": digest_of_judges(arguments, judges),
    }
    return KeptReadings(arguments.readings, facts)


def _changes(arguments: argparse.Namespace) -> dict[str, object]:
    """Returns the sampler settings of the command line."""
    names = ("steps", "sampler", "audio_guidance", "color_strength")
    given = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _transformer(arguments: argparse.Namespace) -> dict[str, object]:
    return {"transformer": arguments.transformer} if arguments.transformer else {}


def _size_hw(arguments: argparse.Namespace) -> tuple[int, int]:
    if arguments.size:
        return _size_of(arguments)
    from flashtalk.engine.sampling import SAMPLING_FILE, load_sampling

    # A single VAE has no default size.
    known = (arguments.weights / SAMPLING_FILE).is_file()
    return load_sampling(arguments.weights).size_hw if known else DEFAULT_SIZE_HW


def _clips(arguments: argparse.Namespace, count: int, seconds: float) -> ClipSet:
    return open_clips(
        arguments.data,
        arguments.cache,
        split=arguments.split,
        count=count,
        seconds=seconds,
        size_hw=_size_hw(arguments),
    )


def main(arguments: list[str] | None = None) -> int:
    """Returns 0, or exits with code 2 and one line for bad input."""
    console = live_console()
    try:
        run(parse(arguments), console)
    except FlashTalkError as error:
        note(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("training.evaluate", main))
