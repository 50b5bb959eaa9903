"""``python -m training.train --recipe NAME``, alone or under torchrun: trains one model."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from flashtalk.errors import FlashTalkError, InputError
from flashtalk.terminal import OneLineParser, guarded, note
from training.core.errors import GateError
from training.core.native_bf16 import without_slow_bf16
from training.core.overrides import apply_overrides, field_paths
from training.core.trainer import Trainer
from training.core.world import World, end_process
from training.places import Places
from training.recipes import RECIPES
from training.recipes.registry import find_recipe

EXIT_INPUT = 2
_MOST_MINUTES = 1_000_000
EXIT_GATE = 3


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line parser; ``--help`` lists the recipes and their fields."""
    width = max(len(recipe.name) for recipe in RECIPES)
    listing = "\n".join(f"  {recipe.name:<{width}}  {recipe.summary}" for recipe in RECIPES)
    parser = OneLineParser(
        prog="python -m training.train",
        description="Train one model. An interrupted run resumes automatically from its run "
        "directory.",
        epilog=f"recipes:\n{listing}\n\n--recipe NAME --list shows the fields of a recipe.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipe", required=True, metavar="NAME")
    parser.add_argument(
        "--smoke", action="store_true", help="smoke test with tiny sizes; takes seconds"
    )
    parser.add_argument("--minutes", type=float, help="wall-clock limit of the run, minutes")
    parser.add_argument(
        "--run-dir", type=Path, help="run directory with checkpoints (default runs/NAME)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".cache/synthtalk"),
        help="rendered data with train/ and val/ (default %(default)s)",
    )
    parser.add_argument(
        "--cache", type=Path, help="folder for cached latents and features (default DATA/features)"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        help="folder of finished models, read and written (default RUN_DIR/../weights)",
    )
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="DIR",
        help="finished models to initialise a new run from, for example weights/tiny",
    )
    parser.add_argument(
        "--list", action="store_true", help="print the fields of the recipe and exit"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="override a field: lr=1e-3, schedule.steps=500, trainer.seed=1",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one recipe; returns 0 if done or stopped by a signal, 2 bad input, 3 not learning."""
    options = build_parser().parse_intermixed_args(arguments)
    try:
        return _run(options)
    except GateError as error:
        note(f"training: {error}")
        return EXIT_GATE
    except FlashTalkError as error:
        note(f"training: {error}")
        return EXIT_INPUT


def _run(options: argparse.Namespace) -> int:
    recipe = find_recipe(options.recipe, RECIPES)
    config = recipe.smoke() if options.smoke else recipe.full()
    overrides = list(options.overrides)
    if options.minutes is not None:
        if not 0 < options.minutes <= _MOST_MINUTES:
            limit = f"must be > 0, at most {_MOST_MINUTES}"
            raise InputError("--minutes", options.minutes, limit)
        overrides.append(f"trainer.schedule.minutes={options.minutes}")
    config = apply_overrides(config, overrides)
    if options.list:
        for path in field_paths(config):
            print(path)
        return 0
    run_dir = options.run_dir or Path("runs") / recipe.name
    places = Places(
        run_dir=run_dir,
        data_dir=options.data,
        cache_dir=options.cache or options.data / "features",
        weights_dir=options.weights or run_dir.parent / "weights",
        start_dir=options.start_from,
    )
    world = World.join(config.trainer.device)
    try:
        if world.size > 1 and not recipe.sharded:
            raise InputError(
                "--recipe", recipe.name, "must run in one process; only DiT recipes are sharded"
            )
        asked, config = config, without_slow_bf16(config, world.device)
        task = config.task(places, world)
        trainer = Trainer(recipe.name, config.trainer, task, run_dir, world)
        if world.first:
            if config is not asked:
                print("training: using float32, because this CPU has no bfloat16 arithmetic")
            text = json.dumps(dataclasses.asdict(config), indent=2, default=str)  # type: ignore[call-overload]
            (run_dir / "config.json").write_text(text + "\n")
        trainer.run(export_dir=places.model_dir(config.role))
    finally:
        world.leave()
    return 0


if __name__ == "__main__":
    end_process(guarded("training.train", main))
