"""Stages cut where processes part: every cut gives what the uncut chunk loop gives.

What only travels keeps its bits; what is computed in other pieces is the same to rounding.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
import torch

from flashtalk.arrays import Frames
from flashtalk.diffusion.color import ReferenceColor
from flashtalk.diffusion.noise import chunk_noise
from flashtalk.diffusion.state import DiffusionState
from flashtalk.engine import AudioEncoder, EncodedPrompt, FlashTalkPipeline, StageClock, VideoCodec
from flashtalk.engine.audio import windows_from_rows
from flashtalk.engine.denoiser import conditioning_digest
from flashtalk.engine.frame_transfer import to_bytes
from flashtalk.errors import InputError
from flashtalk.models.vae.history import VAEState
from flashtalk.models.vae.model import VideoVAE
from flashtalk.models.wav2vec2 import Wav2Vec2Features
from flashtalk.streaming import Pcm, StreamSpec
from tests.fakes.weights import micro_pipeline
from tests.tolerances import assert_frames, assert_rounded

SPEC = StreamSpec()
PORTRAIT = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pipeline() -> FlashTalkPipeline:
    return micro_pipeline()


def sound(seed: int) -> Pcm:
    return np.random.default_rng(seed).normal(0, 0.1, 128_000).astype(np.float32)


def exhausted(
    stream: Generator[Frames, None, torch.Tensor],
) -> tuple[list[Frames], torch.Tensor]:
    parts: list[Frames] = []
    while True:
        try:
            parts.append(next(stream))
        except StopIteration as end:
            motion: torch.Tensor = end.value
            return parts, motion


def decoded_33(codec: VideoCodec, z: torch.Tensor) -> torch.Tensor:
    """All frames of a chunk, the first five included."""
    return codec.vae.decode(z).float()


def test_35_rows_are_all_that_the_windows_of_a_chunk_need(pipeline: FlashTalkPipeline) -> None:
    encoder = pipeline.audio
    features = encoder.features(sound(1))
    rows = encoder.chunk_rows(features)
    assert rows.shape == (35, *features.shape[1:])
    # Frame 0 of the chunk is row 167 of the window; the last frame sees nothing behind itself.
    expected = [features[(torch.arange(t - 2, t + 3)).clip(max=199)] for t in range(167, 200)]
    assert torch.equal(encoder.windows_from_rows(rows), torch.stack(expected)[None])
    assert torch.equal(encoder.windows_from_rows(features), encoder.windows(features))
    assert torch.equal(windows_from_rows(rows, SPEC), encoder.encode(sound(1)))
    with pytest.raises(InputError, match="at least 35 rows"):
        encoder.windows_from_rows(rows[1:])


def test_a_batch_of_windows_is_each_window_alone(pipeline: FlashTalkPipeline) -> None:
    encoder = pipeline.audio
    windows = [sound(seed) for seed in range(3)]
    together = encoder.batch_rows(windows, batch_size=2)
    for pcm, rows in zip(windows, together, strict=True):
        assert torch.equal(rows, encoder.chunk_rows(encoder.features(pcm)))
    with pytest.raises(InputError, match="pcm"):
        encoder.batch_rows([windows[0], windows[1][:-1]], batch_size=2)


def test_batches_of_a_gpu_are_filled_up_with_silence(
    pipeline: FlashTalkPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of a GPU, run here on the CPU: equal sizes, rows of the right windows."""
    sizes: list[int] = []

    class Counting(Wav2Vec2Features):
        def forward(self, pcm_BN: torch.Tensor, frames: int) -> torch.Tensor:
            sizes.append(len(pcm_BN))
            return super().forward(pcm_BN, frames)

    model = Counting(pipeline.audio.model.config).eval()
    model.load_state_dict(pipeline.audio.model.state_dict())
    encoder = AudioEncoder(model, SPEC)
    expected = [encoder.chunk_rows(encoder.features(sound(seed))) for seed in range(3)]
    sizes.clear()

    class Elsewhere:
        type = "elsewhere"

    real = encoder._encode
    monkeypatch.setattr(AudioEncoder, "_device", Elsewhere())
    monkeypatch.setattr(
        encoder, "_encode", lambda x: real_on_cpu(monkeypatch, real, x), raising=True
    )
    rows = encoder.batch_rows([sound(seed) for seed in range(3)], batch_size=2)
    assert sizes == [2, 2]
    for found, alone in zip(rows, expected, strict=True):
        assert_rounded(found, alone)


def real_on_cpu(monkeypatch: pytest.MonkeyPatch, real: object, x: Pcm) -> torch.Tensor:
    with monkeypatch.context() as scope:
        scope.setattr(AudioEncoder, "_device", torch.device("cpu"))
        assert callable(real)
        features: torch.Tensor = real(x)
        return features


def test_a_conditioning_is_the_same_of_tokens_that_travelled(pipeline: FlashTalkPipeline) -> None:
    denoiser, reference = pipeline.denoiser, pipeline.codec.encode_reference(PORTRAIT)
    whole = pipeline.condition(PORTRAIT, reference, "hello", "w" * 64)
    image, text = pipeline.encoders.embed(PORTRAIT, "hello")
    assert image.shape == (1, 5, 16)
    assert text.shape == (1, 16, 16)
    image, text = (torch.from_numpy(part.float().numpy().copy()) for part in (image, text))
    again = denoiser.conditioned(EncodedPrompt(image, text), reference.z_BCFHW, whole.digest)
    assert torch.equal(again.y_BCFHW, whole.y_BCFHW)
    for kind in ("text", "image"):
        for ours, theirs in zip(
            getattr(again.context, kind), getattr(whole.context, kind), strict=True
        ):
            assert torch.equal(ours.k, theirs.k)
            assert torch.equal(ours.v, theirs.v)


def test_weights_and_latents_are_in_the_name(pipeline: FlashTalkPipeline) -> None:
    z = pipeline.codec.encode_reference(PORTRAIT).z_BCFHW
    first = conditioning_digest("p", z, "hello", "a")
    assert conditioning_digest("p", z.clone(), "hello", "a") == first
    others = [
        conditioning_digest("p", z, "hello", "b"),
        conditioning_digest("p", z, "hello"),
        conditioning_digest("q", z, "hello", "a"),
        conditioning_digest("p", z, "hell", "a"),
        conditioning_digest("p", z + 1, "hello", "a"),
    ]
    assert len({first, *others}) == 6


@pytest.mark.parametrize("frames", range(1, 29))
def test_a_chunk_cut_anywhere_has_the_motion_of_its_last_five_frames(
    pipeline: FlashTalkPipeline, frames: int
) -> None:
    codec = pipeline.codec
    reference = codec.encode_reference(PORTRAIT)
    z = chunk_noise(1, 0, 0, (1, 16, 9, 4, 6))
    video = codec.correct(decoded_33(codec, z), reference, 1.0)
    parts, motion = exhausted(codec.stream(z, reference.color, 1.0, frames=frames))
    assert_frames(np.concatenate(parts), to_bytes(video[:, :, 5 : 5 + frames]))
    assert_rounded(motion, codec.encode_motion(video[:, :, frames : frames + 5]))
    assert_rounded(codec.motion(z, reference.color, 1.0, frames=frames), motion)


def test_a_whole_chunk_is_that_of_the_chunk_loop(pipeline: FlashTalkPipeline) -> None:
    codec = pipeline.codec
    reference = codec.encode_reference(PORTRAIT)
    z = chunk_noise(2, 0, 0, (1, 16, 9, 4, 6))
    video = codec.correct(codec.decode(z), reference, 1.0)
    clock = StageClock(torch.device("cpu"))
    parts, motion = exhausted(codec.stream(z, reference.color, 1.0, clock=clock))
    assert_frames(np.concatenate(parts), to_bytes(video))
    assert_rounded(motion, codec.encode_motion(video))
    assert set(clock.timings_s) == {"decode", "color", "motion"}


def test_later_latents_are_not_decoded_before_they_are_wanted(pipeline: FlashTalkPipeline) -> None:
    codec = pipeline.codec
    color = codec.encode_reference(PORTRAIT).color
    steps: list[int] = []

    class Counting(VideoCodec):
        def _decode_step(
            self, vae: VideoVAE, z_BCFHW: torch.Tensor, state: VAEState
        ) -> tuple[torch.Tensor, VAEState]:
            steps.append(z_BCFHW.shape[2])
            return super()._decode_step(vae, z_BCFHW, state)

    counting = Counting(codec.vae, SPEC)
    z = chunk_noise(1, 0, 0, (1, 16, 9, 4, 6))
    stream = counting.stream(z, color, 1.0)
    next(stream)
    assert steps == [3]
    exhausted(stream)
    assert steps == [3, 6]
    steps.clear()
    exhausted(counting.stream(z, color, 1.0, frames=3))
    assert steps == [3]  # frames 1 to 8 are more than shown frame 3 and its motion need


@pytest.mark.parametrize("frames", [0, 29, -1])
def test_impossible_cuts_are_refused(pipeline: FlashTalkPipeline, frames: int) -> None:
    color = pipeline.codec.encode_reference(PORTRAIT).color
    z = torch.zeros(1, 16, 9, 4, 6)
    with pytest.raises(InputError, match="frames"):
        pipeline.codec.motion(z, color, 1.0, frames=frames)
    with pytest.raises(InputError, match="latents"):
        pipeline.codec.motion(z[:, :, :8], color, 1.0, frames=1)


def test_colours_survive_the_wire(pipeline: FlashTalkPipeline) -> None:
    color = pipeline.codec.encode_reference(PORTRAIT).color
    array = color.to_array()
    assert array.shape == (2, 3)
    assert array.dtype == np.float32
    again = ReferenceColor.from_array(array)
    assert torch.equal(again.mean_BC1, color.mean_BC1)
    assert torch.equal(again.std_BC1, color.std_BC1)
    for wrong in (array[:1], -array.clip(min=1), np.full((2, 3), np.nan, np.float32)):
        with pytest.raises(InputError, match="color"):
            ReferenceColor.from_array(wrong)


def test_a_state_of_the_wire_denoises_like_the_one_of_the_loop(pipeline: FlashTalkPipeline) -> None:
    denoiser, reference = pipeline.denoiser, pipeline.codec.encode_reference(PORTRAIT)
    conditioning = pipeline.condition(PORTRAIT, reference, "")
    state = DiffusionState.start(5, reference.z_BCFHW, SPEC)
    rows = pipeline.audio.chunk_rows(pipeline.audio.features(sound(3)))
    sent = torch.from_numpy(rows.numpy().copy())
    motion = torch.from_numpy(state.motion_z.numpy().copy())
    again = DiffusionState(5, 0, motion, SPEC)
    windows = pipeline.audio.encode(sound(3))
    assert torch.equal(
        denoiser.denoise(conditioning, windows_from_rows(sent, SPEC), again, pipeline.sampling),
        denoiser.denoise(conditioning, windows, state, pipeline.sampling),
    )
