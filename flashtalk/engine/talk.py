"""The chunk loop: generates frames from a portrait and a stream of speech (report section 3).

A session is a value. ``advance`` takes one and returns the next, so sessions on one pipeline are
independent, each can be suspended and resumed, and memory does not grow with the length of the
stream.

In the published whole-file mode the video leads the sound by 5 frames and the tail is lost. Here
frame n shows exactly the samples [640 n, 640 n + 640), and the last frame shows the last sample:
the motion frames before chunk 0 stand for silence before time 0, every chunk's audio window ends
with the chunk, and the last chunk is padded with silence and cut to its real frames.

Legend: H W pixels, C channels (3), T frames, S samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from flashtalk.arrays import Frames, Rgb
from flashtalk.bounds import check_seed
from flashtalk.diffusion.state import DiffusionState
from flashtalk.engine.codec import Reference
from flashtalk.engine.denoiser import Conditioning
from flashtalk.engine.frame_transfer import send_frames
from flashtalk.engine.pipeline import Pipeline, Stages
from flashtalk.engine.sampling import Sampling
from flashtalk.engine.stage_clock import StageClock
from flashtalk.media.image import check_size, cover, oriented_size
from flashtalk.streaming import AudioChunk, Pcm, Position, StreamSpec, chunks


@dataclass(frozen=True, eq=False)
class Session:
    """A talk between two chunks.

    Args:
        conditioning, reference: the encoded portrait and prompt.
        sampling: sampling settings of its chunks.
        state: seed, number of the next chunk, motion latents.
        position: its position in the stream, with its newest 8 s of sound.
    """

    conditioning: Conditioning
    reference: Reference
    sampling: Sampling
    state: DiffusionState
    position: Position


@dataclass(frozen=True, eq=False)
class ChunkResult:
    """The frames of one chunk and their sound.

    Args:
        index: number of the chunk, from 0.
        frames_THWC: uint8 [T, H, W, 3], T = 28 or fewer in the last chunk.
        pcm_S: float32 [640 T], frame n showing samples [640 n, 640 n + 640); the end of the last
            frame of a stream may be padded with silence.
        first_frame, first_sample: position of the first one in the stream.
        timings_s: seconds per stage: ``audio``, ``denoise``, ``decode``, ``color``, ``motion``;
            the first access waits for a GPU to end the last one.
    """

    index: int
    frames_THWC: Frames
    pcm_S: Pcm
    first_frame: int
    first_sample: int
    timings_s: Mapping[str, float]

    @property
    def compute_s(self) -> float:
        """Returns the sum of the seconds of all stages."""
        return sum(self.timings_s.values())


def start(
    pipeline: Pipeline,
    portrait_HWC: Rgb,
    *,
    prompt: str | None = None,
    seed: int = 0,
    size_hw: tuple[int, int] | None = None,
    sampling: Sampling | None = None,
) -> Session:
    """Returns a session before its first chunk.

    Args:
        pipeline: the loaded models.
        portrait_HWC: uint8 [H, W, 3] of any size; scaled and cropped to the video's.
        prompt: describes the scene; ``None``: the weights' default.
        seed: 0 .. 2^64 - 1; equal seeds give equal bits.
        size_hw: of the video, multiples of 16; ``None``: the weights' default, transposed if the
            portrait has the other orientation.
        sampling: steps and guidance; ``None``: the weights' default.

    Raises:
        InputError: an invalid portrait, size or seed.
    """
    check_seed(seed)
    chosen = sampling or pipeline.sampling
    check_size(portrait_HWC.shape[1], portrait_HWC.shape[0], "portrait")
    size = size_hw or oriented_size(chosen.size_hw, portrait_HWC)
    pipeline.spec.latent_size(*size)
    covered = cover(portrait_HWC, size)
    reference = pipeline.codec.encode_reference(covered)
    conditioning = pipeline.condition(
        covered, reference, chosen.prompt if prompt is None else prompt
    )
    return session_of(pipeline.spec, conditioning, reference, seed=seed, sampling=chosen)


def session_of(
    spec: StreamSpec,
    conditioning: Conditioning,
    reference: Reference,
    *,
    seed: int,
    sampling: Sampling,
) -> Session:
    """Returns a session of an encoded portrait and prompt, before its first chunk."""
    return Session(
        conditioning=conditioning,
        reference=reference,
        sampling=sampling,
        state=DiffusionState.start(seed, reference.z_BCFHW, spec),
        position=Position.start(spec, spec.window_samples),
    )


def advance(stages: Stages, session: Session, chunk: AudioChunk) -> tuple[ChunkResult, Session]:
    """Makes one chunk.

    Args:
        stages: the loaded models.
        session: not changed; it can be used again.
        chunk: the sound after that of the session.

    Returns:
        The chunk's real frames, and the session after it.
    """
    codec, spec, sampling = stages.codec, stages.spec, session.sampling
    clock = StageClock(session.reference.z_BCFHW.device)
    window = session.position.window(spec, chunk.pcm_S)
    with clock.stage("audio"):
        windows_BTWLD = stages.audio.encode(np.concatenate(window))
    with clock.stage("denoise"):
        z_BCFHW = stages.denoiser.denoise(
            session.conditioning, windows_BTWLD, session.state, sampling
        )
    with clock.stage("decode"):
        video_BCTHW = codec.decode(z_BCFHW)
    with clock.stage("color"):
        video_BCTHW = codec.correct(video_BCTHW, session.reference, sampling.color_strength)
        leaving = send_frames(video_BCTHW)
    with clock.stage("motion"):
        motion_z = codec.encode_motion(video_BCTHW)
    result = ChunkResult(
        index=chunk.index,
        frames_THWC=leaving.wait()[: chunk.frames],
        pcm_S=chunk.pcm_S[: chunk.frames * spec.samples_per_frame],
        first_frame=chunk.first_frame,
        first_sample=chunk.first_sample,
        timings_s=clock.timings_s,
    )
    state = session.state.advance(motion_z)
    # The motion latents continue the whole chunk, including silence at its end; so does the sound.
    # A copy: the caller may change the result's sound.
    position = session.position.advance(spec, chunk.pcm_S.copy(), spec.new_frames)
    return result, dataclasses.replace(session, state=state, position=position)


def talk(
    pipeline: Pipeline,
    portrait_HWC: Rgb,
    packets: Iterable[Pcm],
    *,
    prompt: str | None = None,
    seed: int = 0,
    size_hw: tuple[int, int] | None = None,
    sampling: Sampling | None = None,
) -> Iterator[ChunkResult]:
    """The whole loop: takes packets and yields each chunk when its last sample has arrived.

    Args:
        packets: float32 [S] mono samples at 16 kHz in packets of any size; their end is the end
            of the talk.

    The other arguments and errors are those of ``start``, which is called before this returns.

    Returns:
        Iterator of chunks: ceil(samples / 640) frames in all.
    """
    session = start(
        pipeline, portrait_HWC, prompt=prompt, seed=seed, size_hw=size_hw, sampling=sampling
    )
    return talk_on(pipeline, session, packets)


def talk_on(stages: Stages, session: Session, packets: Iterable[Pcm]) -> Iterator[ChunkResult]:
    """``talk`` with a started session, which is not changed."""
    for chunk in chunks(packets, stages.spec):
        result, session = advance(stages, session, chunk)
        yield result
