"""A loaded pipeline as a performer: the same ``talk()`` that ``flashtalk generate`` uses.

Legend: T frames, H W pixels, N audio samples at 16 kHz.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from flashtalk.arrays import Frames, Pcm, Rgb
from flashtalk.engine import Pipeline, Sampling, flashtalk_checkpoint, open_checkpoint, talk
from flashtalk.engine.sampling import SAMPLING_FILE, load_sampling
from flashtalk.errors import InputError
from flashtalk.models.checkpoint import CONFIG
from flashtalk.models.dit.weights import load_config
from flashtalk.streaming import StreamSpec
from training.evaluate.digests import digest_of, digest_of_network
from training.evaluate.round_trip import through_vae

PACKET_SAMPLES = 3_200  # 200 ms: small, so that the stream's own chunking is evaluated


@dataclass(frozen=True)
class TalkPerformer:
    """Performs through ``talk()``; ``device`` and ``dtype`` are the pipeline's own."""

    pipeline: Pipeline
    sampling: Sampling
    device: torch.device
    dtype: torch.dtype

    def perform(self, portrait_HWC: Rgb, pcm_N: Pcm, *, prompt: str, seed: int) -> Frames:
        """One frame per 640 samples, uint8 [T, H, W, 3]."""
        chunks = self.stream(portrait_HWC, packets(pcm_N), prompt=prompt, seed=seed)
        return np.concatenate(list(chunks))

    def stream(
        self, portrait_HWC: Rgb, speech: Iterable[Pcm], *, prompt: str, seed: int
    ) -> Iterator[Frames]:
        """Chunks [T, H, W, 3] as they are made; ``speech`` is read when it is needed."""
        chunks = talk(
            self.pipeline,
            np.ascontiguousarray(portrait_HWC),
            speech,
            prompt=prompt,
            seed=seed,
            size_hw=size_of(portrait_HWC),
            sampling=self.sampling,
        )
        for chunk in chunks:
            yield chunk.frames_THWC

    @property
    def spec(self) -> StreamSpec:
        """Returns the stream spec of the weights."""
        return self.pipeline.spec

    @property
    def codec_digest(self) -> str:
        """Returns a digest of the dependencies of ``through_codec``."""
        vae = self.pipeline.codec.vae
        return digest_of(
            {
                "config": vae.config,
                "numbers": digest_of_network(vae),
                "device": self.device,
                "dtype": self.dtype,
            }
        )

    def through_codec(self, video_THWC: Frames) -> Frames:
        """Returns the frames after encoding and decoding, uint8 [T, H, W, 3]."""
        vae = self.pipeline.codec.vae
        return through_vae(vae, video_THWC, spec=self.spec, device=self.device, dtype=self.dtype)


def packets(pcm_N: Pcm, samples: int = PACKET_SAMPLES) -> Iterator[Pcm]:
    """Yields the speech in packets."""
    for start in range(0, len(pcm_N), samples):
        yield pcm_N[start : start + samples]


def size_of(portrait_HWC: Rgb) -> tuple[int, int]:
    """Height and width: the video has the size of the portrait that the data hold."""
    return portrait_HWC.shape[0], portrait_HWC.shape[1]


def open_pipeline(
    preset: str,
    folder: Path,
    *,
    device: str,
    dtype: str,
    changes: Mapping[str, object],
    transformer: Path | None = None,
) -> TalkPerformer:
    """Loads a preset's weights.

    Args:
        preset, folder, device: as in ``load_pipeline``.
        transformer: folder of another transformer of the same layout that replaces ``folder``'s
            own, such as the teacher beside a student. If it defines its noise levels
            (``pipeline.json``), as a transformer of Stage 2 alone does, they are used.
        dtype: ``float32`` or ``bfloat16``.
        changes: fields of ``Sampling`` that differ from the weights' own.

    Raises:
        InputError: ``transformer`` is not a folder with a config.
        WeightsError: as ``load_pipeline``.
    """
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    checkpoint = open_checkpoint(preset, folder, device=device, dtype=dtype)
    if transformer is not None:
        if not (transformer / CONFIG).is_file():
            raise InputError("--transformer", transformer, f"must be a folder with {CONFIG}")
        checkpoint = flashtalk_checkpoint(checkpoint)
        checkpoint = dataclasses.replace(
            checkpoint,
            layout=dataclasses.replace(checkpoint.layout, dit=transformer),
            sizes=dataclasses.replace(checkpoint.sizes, dit=load_config(transformer)),
        )
    pipeline = checkpoint.load()
    own = _steps_of(transformer) if transformer is not None else {}
    sampling = Sampling.from_dict({**pipeline.sampling.to_dict(), **own, **changes})
    return TalkPerformer(pipeline, sampling, torch.device(device), kind)


def _steps_of(transformer: Path) -> dict[str, object]:
    """Returns the noise levels of a transformer; sizes and the rest are the weights'."""
    if not (transformer / SAMPLING_FILE).is_file():
        return {}
    values = load_sampling(transformer).to_dict()
    return {name: values[name] for name in ("steps", "shift", "sampler")}
