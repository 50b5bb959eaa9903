"""The basis of Stage 2: a checkpoint's networks and frozen models, data and prompts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from flashtalk.arrays import IntArray
from flashtalk.engine.sampling import Sampling, save_sampling
from flashtalk.errors import InputError
from flashtalk.models.dit.model import DiT
from flashtalk.models.dit.weights import WEIGHTS_STEM
from training.core.board import Board
from training.core.sharding import ShardPlan
from training.core.world import World
from training.data.batch import Stage2Batch
from training.data.cache import BucketCache, VideoPlan
from training.data.clips import video_from_frames
from training.data.sampler import Beginning, Order, Stage2Sampler
from training.data.source.splits import Split, open_sources, with_truth
from training.data.units import StretchPlan
from training.distill.matching import Prompts
from training.distill.rollout import NextMotion
from training.models import FROZEN_ROLES, Models
from training.places import Places
from training.tasks.captions import Prompter
from training.tasks.export import save_model
from training.tasks.pictures import strip
from training.tasks.samples import SampleConfig, sample_report, sampled_frames
from training.tasks.scenes import colour_drift, liveliness, scenes
from training.tasks.split_caches import build_caches


@dataclass(frozen=True)
class BatchRequest:
    """Which batch: its number among all draws, its chunks, whether streams begin with it.

    Args:
        number: number of the draw, from 0; for samples in rounds.
        chunks: number of chunks of the rollout.
        beginning: the first chunk continues the portrait alone; for all samples or per sample.
        rng: same state on every rank; for drawn samples.
        mine: this rank's rows of the global batch.
    """

    number: int
    chunks: int
    beginning: Beginning
    rng: np.random.Generator
    mine: slice = field(default_factory=lambda: slice(None))


@dataclass(frozen=True)
class Stage2SetupConfig:
    """Settings of checkpoint and data.

    Args:
        preset: of the checkpoint folder (``--weights``).
        teacher: a folder inside it whose transformer replaces the checkpoint's own.
        videos: what to cache of them; with stretches.
        order: of their shots.
        seed: of rounds.
        negative_prompt: prompt for dropped text.
        samples: videos of an evaluation.
        measured: their metrics: with the truth of rendered data (``truth``), or from pictures of
            any video (``pictures``).
        export: the student alone, or a whole folder of weights with it.
        device_gb: memory of one device, for the plan, 10^9 bytes; 0: no plan.
    """

    preset: str = "flashtalk-14b"
    teacher: str = ""
    videos: VideoPlan = field(default_factory=lambda: VideoPlan(stretches=StretchPlan()))
    order: Order = "rounds"
    seed: int = 0
    negative_prompt: str = ""
    samples: SampleConfig = field(default_factory=SampleConfig)
    measured: Literal["truth", "pictures"] = "pictures"
    export: Literal["student", "folder"] = "student"
    device_gb: float = 0.0

    @property
    def chunks(self) -> int:
        """Returns the maximum number of chunks of a rollout."""
        return self.videos.stretches.chunks if self.videos.stretches is not None else 0


class Stage2Setup:
    """A checkpoint's networks and frozen models, data and prompts.

    Args:
        config: its settings.
        places: directories.
        world: the ranks.
        plan: sharding of the networks.
        batch: of all ranks together.
        sampling: exported with the student; a whole folder has the size of its videos.
    """

    def __init__(
        self,
        config: Stage2SetupConfig,
        places: Places,
        world: World,
        plan: ShardPlan,
        batch: int,
        sampling: Sampling,
    ) -> None:
        self.config, self.places, self.world = config, places, world
        self._batch, self._sampling = batch, sampling
        self.sources = open_sources(places.data_dir)
        if config.measured == "truth":
            self.truth = with_truth(self.sources["val"], "measured")
        self.models = Models.open(
            config.preset, places.weights_dir, world, plan, transformer=config.teacher
        )
        self.spec = self.models.checkpoint.spec
        if config.export == "folder" and self.models.checkpoint.layout.kind != "own":
            raise InputError(
                "export", config.export, "must be student: published weights are not copied"
            )
        if config.device_gb:
            self.models.show_memory(
                ("student", "fake score"),
                ("real score",),
                config.videos.bucket_sizes(),
                batch,
                int(config.device_gb * 1e9),
            )
        self.frozen = self.models.frozen()
        self.prompter = Prompter(
            self.models.text(),
            self.models.checkpoint.load_tokenizer(),
            world.device,
            config.negative_prompt,
        )
        self._empty_1ND = self.prompter.tokens([config.negative_prompt])
        self._caches: Mapping[Split, list[BucketCache]] = {}
        self._samplers: Mapping[Split, Stage2Sampler] = {}

    def network(self, *, trained: bool) -> DiT:
        """Returns a network with the weights of Stage 1, sharded over the ranks, no dropout."""
        return self.models.network(trained=trained)

    def prepare(self) -> None:
        """Encodes the data with the frozen models, unless it is cached."""
        config = self.config
        self._caches = self.world.in_turn(
            lambda: build_caches(
                self.sources, self.frozen.encoders(), config.videos, self.places, self.spec
            )
        )
        self._samplers = {
            split: Stage2Sampler(
                caches, self.spec, batch=self._batch, order=config.order, seed=config.seed
            )
            for split, caches in self._caches.items()
        }

    def next_motion(self) -> NextMotion:
        """Returns motion latents after a chunk."""
        return partial(self.frozen.motion_after, spec=self.spec)

    def batch(self, split: Split, request: BatchRequest) -> Stage2Batch:
        """On the device, this rank's rows."""
        drawn = self._samplers[split].draw(
            request.number,
            request.chunks,
            request.rng,
            beginning=request.beginning,
            mine=request.mine,
        )
        return drawn.to(self.world.device)

    def prompts(self, split: Split, video_B: IntArray) -> Prompts:
        """Returns text tokens of these videos."""
        source = self.sources[split]
        text_BND = self.prompter.tokens([source.facts(int(v)).caption for v in video_B])
        return Prompts(text_BND, self._empty_1ND.expand_as(text_BND))

    def report(self, student: DiT, board: Board) -> Mapping[str, float]:
        """Samples videos of the student for the board; returns their metrics."""
        if self.config.measured == "pictures":
            return self._report_on_pictures(student, board)
        return sample_report(
            self.config.samples.like(self._sampling),
            student,
            self.frozen,
            self.truth.data,
            self.spec,
            lambda video: self.prompter.tokens([self.truth.facts(video).caption]),
            board,
        )

    @torch.no_grad()
    def _report_on_pictures(self, student: DiT, board: Board) -> Mapping[str, float]:
        """Returns ``free_motion``: change from frame to frame over the true one; ``free_drift``:
        change of the mean colours over the sampled chunks, of 255."""
        samples, source = self.config.samples.like(self._sampling), self.sources["val"]
        rows, motion, drift = [], [], []
        frames = samples.chunks * self.spec.new_frames
        for scene in scenes(source, self._caches["val"], samples.videos, frames):
            shot, true = scene.shot, scene.video_BCTHW
            pcm = source.pcm(shot.video, shot.first, true.shape[2])
            caption = source.facts(shot.video).caption
            portrait_HWC = np.ascontiguousarray(scene.frames_THWC[0])
            shown = sampled_frames(
                student,
                self.frozen,
                portrait_HWC,
                pcm,
                self.prompter.tokens([caption]),
                self.spec,
                samples.uncorrected(portrait_HWC.shape[:2], 1.0),
                samples.seed,
            )
            made = video_from_frames(shown[: true.shape[2]])
            motion.append(liveliness(made, true))
            drift.append(colour_drift(made, self.spec))
            rows += [true[0, :, ::14], made[0, :, ::14]]
        board.picture("samples", strip(rows, scale=1))
        return {"free_motion": float(np.mean(motion)), "free_drift": float(np.mean(drift))}

    def export(self, student: DiT, directory: Path) -> None:
        """Writes the finished student; collective.

        Exported alone it replaces the transformer in a copy of the checkpoint; a whole folder
        already contains it.
        """
        config, first = self.models.sizes.dit.to_dict(), self.world.first
        if self.config.export == "student":
            save_model(
                student, config, directory, stem=WEIGHTS_STEM, dtype=torch.bfloat16, write=first
            )
            if first:
                save_sampling(self._sampling, directory)
            return
        save_model(student, config, directory / "dit", stem=WEIGHTS_STEM, write=first)
        if not first:
            return
        for role in (*FROZEN_ROLES, "umt5"):
            shutil.copytree(self.places.model_dir(role), directory / role, dirs_exist_ok=True)
        height_px, width_px = self.sources["val"].facts(0).size_hw
        save_sampling(replace(self._sampling, height_px=height_px, width_px=width_px), directory)
