"""The engine with FlashHead against the published chunk loop: portrait in, frames out.

The recorded run fixes noise and speech windows; resize, conditioning, sampling, decoding, colours,
bytes and the hand-over of the motion frames are the engine's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.arrays import Frames
from flashtalk.diffusion.color import ReferenceColor, match_color
from flashtalk.engine import (
    AudioEncoder,
    FlashHeadDenoiser,
    NoEncoders,
    Pipeline,
    Sampling,
    Session,
    VideoCodec,
    advance,
    denoiser,
    start,
)
from flashtalk.engine.frame_transfer import to_bytes
from flashtalk.media.image import cover
from flashtalk.presets import FLASHHEAD, FLASHHEAD_LITE
from flashtalk.streaming import ChunkClock, Pcm, preset_spec
from tests.fakes.golden_models import (
    FLASHHEAD_GOLDENS,
    golden_flashhead,
    golden_ltx_vae,
    golden_vae,
)
from tests.tolerances import PUBLISHED, assert_frames

Golden = dict[str, Tensor]
# Of the second chunk's frames, which depend on the rounding of the first.
FRAMES = 5e-4
SIZES_HW = {"pro": (64, 48), "lite": (64, 96)}
LITE_CHANNELS = 24


class RecordedSpeech:
    """Stands for the speech encoder: the recorded windows of chunk 0, 1, ..."""

    def __init__(self, windows: Iterator[Tensor]) -> None:
        self.windows = windows

    def encode(self, pcm_S: Pcm) -> Tensor:
        return next(self.windows)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Golden]:
    return {name: load_file(FLASHHEAD_GOLDENS / f"sampler_{name}.safetensors") for name in SIZES_HW}


def pipeline_of(variant: str, golden: Golden, **sampling: float) -> Pipeline:
    lite, (height, width) = variant == "lite", SIZES_HW[variant]
    spec = preset_spec(FLASHHEAD_LITE if lite else FLASHHEAD)
    if lite:
        spec = dataclasses.replace(spec, latent_channels=LITE_CHANNELS)
    speech = RecordedSpeech(golden[f"in.audio{chunk}_q8"].float() / 32 for chunk in range(2))
    return Pipeline(
        spec=spec,
        audio=cast(AudioEncoder, speech),
        denoiser=FlashHeadDenoiser(golden_flashhead(variant)),
        codec=VideoCodec(golden_ltx_vae() if lite else golden_vae(), spec, still=True),
        name="recorded",
        sampling=Sampling(height_px=height, width_px=width, prompt="", **sampling),  # type: ignore[arg-type]
        encoders=NoEncoders("recorded"),
    )


def begun(
    pipeline: Pipeline, golden: Golden, case: str, monkeypatch: pytest.MonkeyPatch
) -> Session:
    """Starts the recorded session; checks its conditioning."""

    def noise(
        seed: int, chunk: int, step: int, shape: tuple[int, ...], device: torch.device
    ) -> Tensor:
        return golden[f"{case}.chunk{chunk}.noise"][step].view(shape).to(device)

    monkeypatch.setattr(denoiser, "chunk_noise", noise)
    session = start(pipeline, golden["in.image_u8_hwc"].numpy())
    assert session.conditioning.context is None
    close(session.conditioning.y_BCFHW[0], golden[f"{case}.y"])
    close(session.state.motion_z[0], golden[f"{case}.init_motion_latent"])
    return session


def color_of(codec: VideoCodec, golden: Golden) -> ReferenceColor:
    height, width = golden["s4.cond_image"].shape[3:]
    portrait = cover(golden["in.image_u8_hwc"].numpy(), (height, width))
    return codec.encode_reference(portrait).color


def close(found: Tensor, expected: Tensor, atol: float = PUBLISHED) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@pytest.mark.parametrize("variant", ["pro", "lite"])
def test_two_chunks_are_the_published_ones(
    variant: str, recorded: dict[str, Golden], monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = recorded[variant]
    pipeline = pipeline_of(variant, golden)
    session = begun(pipeline, golden, "s4", monkeypatch)
    spec = pipeline.spec
    sound = np.zeros(2 * spec.new_samples, np.float32)
    for index, chunk in enumerate(ChunkClock(spec).push(sound)):
        result, session = advance(pipeline, session, chunk)
        assert len(result.frames_THWC) == spec.new_frames
        expected = golden[f"s4.chunk{index}.frames_u8"].numpy()
        every = spec.new_frames // len(expected)
        assert_frames(result.frames_THWC[::every], expected)
        close(session.state.motion_z[0], golden[f"s4.chunk{index}.motion_latent_after"])


@pytest.mark.parametrize("variant", ["pro", "lite"])
@pytest.mark.parametrize("chunk", [0, 1])
def test_latents_decode_to_the_published_frames(
    variant: str, chunk: int, recorded: dict[str, Golden]
) -> None:
    """Before they are rounded to bytes."""
    golden = recorded[variant]
    codec = pipeline_of(variant, golden).codec
    frames = codec.decode(golden[f"s4.chunk{chunk}.latent"][None])
    new = match_color(frames, color_of(codec, golden))[0]
    expected = golden[f"s4.chunk{chunk}.frames"]
    every = codec.spec.new_frames // expected.shape[1]
    close(new[:, ::every], expected, FRAMES if chunk else PUBLISHED)


@pytest.mark.parametrize(
    ("variant", "case", "settings"),
    [("pro", "s2", {"steps": 2, "color_strength": 0.0}), ("lite", "raw", {"color_strength": 0.0})],
)
def test_without_colour_transfer_frames_are_encoded_as_they_are(
    variant: str,
    case: str,
    settings: dict[str, float],
    recorded: dict[str, Golden],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of Lite not even clamped: its decoder leaves [-1, 1]."""
    golden = recorded[variant]
    pipeline = pipeline_of(variant, golden, **settings)
    session = begun(pipeline, golden, case, monkeypatch)
    sound = np.zeros(pipeline.spec.new_samples, np.float32)
    (chunk,) = ChunkClock(pipeline.spec).push(sound)
    _, session = advance(pipeline, session, chunk)
    close(session.state.motion_z[0], golden[f"{case}.chunk0.motion_latent_after"])


def exhausted(stream: Generator[Frames, None, Tensor]) -> tuple[list[Frames], Tensor]:
    parts: list[Frames] = []
    while True:
        try:
            parts.append(next(stream))
        except StopIteration as end:
            motion_z: Tensor = end.value
            return parts, motion_z


@pytest.mark.parametrize("variant", ["pro", "lite"])
@pytest.mark.parametrize("shown", [1, 3, 10, None])
def test_a_shortened_chunk_shows_the_frames_of_the_whole_one(
    variant: str, shown: int | None, recorded: dict[str, Golden]
) -> None:
    """An interruption must not change frames, though Lite's decoder sees later latents."""
    golden = recorded[variant]
    codec = pipeline_of(variant, golden).codec
    color = color_of(codec, golden)
    z = golden["s4.chunk0.latent"][None]
    whole = match_color(codec.decode(z), color)
    parts, motion_z = exhausted(codec.stream(z, color, 1.0, frames=shown))
    frames = np.concatenate(parts)
    assert len(frames) == (shown or codec.spec.new_frames)
    assert_frames(frames, to_bytes(whole)[: len(frames)])
    close(motion_z, codec.motion(z, color, 1.0, frames=shown))
    assert motion_z.shape[2] == codec.spec.motion_latents
