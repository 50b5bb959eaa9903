"""Stage 2 on recorded videos, from a published checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from flashtalk.engine.sampling import Sampling, save_sampling
from flashtalk.models.dit.model import DiT
from flashtalk.models.dit.weights import WEIGHTS_STEM
from training.core.board import Board
from training.core.world import ShardPlan, World
from training.data.clips import video_from_frames
from training.data.stage2_batch import Stage2Batch
from training.data.stage2_sequences import SequencePlan
from training.data.video_batch import VideoStage2Sampler
from training.data.video_cache import BucketCache, VideoPlan, build_video_caches
from training.data.videos.problems import SkipList
from training.distill.matching import Prompts
from training.distill.rollout import Handover
from training.places import Places
from training.tasks.export import save_model
from training.tasks.ground import Split, Wanted
from training.tasks.pictures import strip
from training.tasks.published import Prompter, PublishedModels
from training.tasks.samples import SampleConfig, sampled_frames
from training.tasks.videos import colour_drift, liveliness, open_source, scenes

_SPLITS: tuple[Split, Split] = ("train", "val")


@dataclass(frozen=True)
class FullGroundConfig:
    """Checkpoint and data.

    Args:
        preset: of the checkpoint folder (``--weights``).
        videos: what is cached of them; with stretches.
        negative_prompt: the null of text.
        samples: videos of an evaluation.
        device_gb: memory of one device, for the plan; 10^9 bytes.
        seed: of the order of the data.
    """

    preset: str = "flashtalk-14b"
    videos: VideoPlan = field(default_factory=lambda: VideoPlan(stretches=SequencePlan()))
    negative_prompt: str = ""
    samples: SampleConfig = field(default_factory=SampleConfig)
    device_gb: float = 96.0
    seed: int = 0

    @property
    def chunks(self) -> int:
        """The most that can be rolled out."""
        return self.videos.stretches.chunks if self.videos.stretches is not None else 0

    def ground(
        self, places: Places, world: World, plan: ShardPlan, batch: int, sampling: Sampling
    ) -> FullGround:
        """See ``FullGround``."""
        return FullGround(self, places, world, plan, batch, sampling)


class FullGround:
    """A ``Ground``; ``sampling`` is what the student is exported with."""

    def __init__(
        self,
        config: FullGroundConfig,
        places: Places,
        world: World,
        plan: ShardPlan,
        batch: int,
        sampling: Sampling,
    ) -> None:
        self.config, self.places, self.world = config, places, world
        self._batch, self._sampling = batch, sampling
        self.models = PublishedModels(config.preset, places.weights_dir, world, plan)
        self.spec = self.models.checkpoint.spec
        self.models.show_memory(
            ("student", "fake score"), ("real score",), config.videos.buckets.sizes(), batch,
            int(config.device_gb * 1e9),
        )  # fmt: skip
        self.sources = {split: open_source(places.data_dir, split) for split in _SPLITS}
        self.frozen = self.models.load_frozen()
        self.prompter = Prompter(self.models, config.negative_prompt)
        self._caches: dict[str, list[BucketCache]] = {}
        self._samplers: dict[str, VideoStage2Sampler] = {}

    def network(self, *, trained: bool) -> DiT:
        """See ``Ground``."""
        return self.models.network(trained=trained)

    def prepare(self) -> None:
        """See ``Ground``."""
        encoders, config = self.frozen.encoders(), self.config
        self._caches = self.world.in_turn(
            lambda: {
                split: build_video_caches(
                    source,
                    encoders,
                    config.videos,
                    self.places.cache_dir,
                    self.spec,
                    SkipList(self.places.run_dir / f"skipped-{split}.jsonl"),
                )
                for split, source in self.sources.items()
            }
        )
        self._samplers = {
            split: VideoStage2Sampler(caches, self.spec, batch=self._batch, seed=config.seed)
            for split, caches in self._caches.items()
        }

    def handover(self) -> Handover:
        """See ``Ground``."""
        return partial(self.frozen.motion_after, spec=self.spec)

    def batch(self, split: Split, wanted: Wanted) -> Stage2Batch:
        """See ``Ground``."""
        drawn = self._samplers[split].draw(
            wanted.number, wanted.chunks, beginning=wanted.beginning, mine=wanted.mine
        )
        return drawn.to(self.world.device)

    def prompts(self, split: Split, utterance_B: npt.NDArray[np.int64]) -> Prompts:
        """See ``Ground``."""
        source = self.sources[split]
        text_BND = self.prompter.tokens([source.facts(int(v)).caption for v in utterance_B])
        return Prompts(text_BND, self.prompter.empty_1ND.expand_as(text_BND))

    @torch.no_grad()
    def report(self, student: DiT, board: Board) -> Mapping[str, float]:
        """``free_motion``: change from frame to frame over the true one; ``free_drift``: of the
        mean colours over the sampled chunks, of 255."""
        samples, source = self.config.samples.like(self._sampling), self.sources["val"]
        rows, motion, drift = [], [], []
        frames = samples.chunks * self.spec.new_frames
        for scene in scenes(source, self._caches["val"], samples.videos, frames):
            unit, true = scene.unit, scene.video_BCTHW
            pcm = source.pcm(unit.video, unit.first, true.shape[2])
            caption = source.facts(unit.video).caption
            portrait_HWC = np.ascontiguousarray(scene.frames_THWC[0])
            shown = sampled_frames(
                student, self.frozen, portrait_HWC, pcm, self.prompter.tokens([caption]),
                self.spec, samples.uncorrected(portrait_HWC.shape[:2], 1.0), samples.seed,
            )  # fmt: skip
            made = video_from_frames(shown[: true.shape[2]])
            motion.append(liveliness(made, true))
            drift.append(colour_drift(made, self.spec))
            rows += [true[0, :, ::14], made[0, :, ::14]]
        board.picture("samples", strip(rows, scale=1))
        return {"free_motion": float(np.mean(motion)), "free_drift": float(np.mean(drift))}

    def export(self, student: DiT, directory: Path) -> None:
        """The student alone: it takes the transformer's place in a copy of the checkpoint."""
        save_model(
            student, self.models.sizes.dit.to_dict(), directory, stem=WEIGHTS_STEM,
            dtype=torch.bfloat16, write=self.world.first,
        )  # fmt: skip
        if self.world.first:
            save_sampling(self._sampling, directory)
