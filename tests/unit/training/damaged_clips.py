"""Clips of drawn people, and ways to damage their pictures."""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from flashtalk.arrays import Frames
from training.data.synthtalk.identity import draw_identity
from training.data.synthtalk.regions import background_mask
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.probe_data import draw_tracks
from training.evaluate.reference_clip import ReferenceClip

SIZE = (96, 96)
FRAMES = 32
PEOPLE = (901_001, 901_002)


def moving_tracks(seed: int) -> np.ndarray:
    """Smooth movement between unrelated poses, as far as people in SynthTalk go."""
    rng = np.random.default_rng(seed)
    rest = np.zeros(len(TRACK_COLUMNS), np.float32)
    rest[TRACK_INDEX["head_scale"]], rest[TRACK_INDEX["width"]] = 1.0, 0.5
    poses = rest + 0.4 * (draw_tracks(rng, 4) - rest)
    poses[:, [TRACK_INDEX["gaze_x"], TRACK_INDEX["gaze_y"]]] = 0.0
    at = np.linspace(0, len(poses) - 1, FRAMES)
    columns = [np.interp(at, np.arange(len(poses)), column) for column in poses.T]
    return np.stack(columns, axis=1).astype(np.float32)


def clip_of(person: int, *, motion: int) -> ReferenceClip:
    identity, tracks = draw_identity(person), moving_tracks(motion)

    def background_under(tracks_TK: np.ndarray) -> np.ndarray:
        return background_mask(tracks_TK, identity, SIZE)

    return ReferenceClip(
        name=str(person),
        pcm_N=np.zeros(640 * FRAMES, np.float32),
        frames_THWC=render(identity, tracks, SIZE),
        tracks_TK=tracks,
        track_names=TRACK_COLUMNS,
        silent_T=np.zeros(FRAMES, bool),
        mouth_THW=np.zeros((FRAMES, *SIZE), bool),
        background_HW=background_under(tracks),
        background_under=background_under,
        drawn_under=lambda tracks_TK: render(identity, tracks_TK, SIZE),
    )


def spots(count: int, *, side: int = 8) -> Callable[[Frames], Frames]:
    """That many squares of other parts of the frame, where hair, face and hands are."""

    def spoil(video: Frames) -> Frames:
        rng = np.random.default_rng(5)
        spoilt = video.copy()
        for _ in range(count):
            (to_y, from_y), (to_x, from_x) = rng.integers(12, 84, 2), rng.integers(22, 66, 2)
            spoilt[:, to_y : to_y + side, to_x : to_x + side] = video[
                :, from_y : from_y + side, from_x : from_x + side
            ]
        return spoilt

    return spoil


def noisy(levels: float) -> Callable[[Frames], Frames]:
    def spoil(video: Frames) -> Frames:
        noise = np.random.default_rng(6).normal(0, levels, video.shape)
        return (video + noise).clip(0, 255).astype(np.uint8)

    return spoil


def cast(levels: float) -> Callable[[Frames], Frames]:
    return lambda video: (video - levels * np.array([1.0, 0, 0])).clip(0, 255).astype(np.uint8)


def ghost(share: float) -> Callable[[Frames], Frames]:
    """The whole person once more, a fifth of the frame to the side, as a double exposure."""

    def spoil(video: Frames) -> Frames:
        twice = (1 - share) * video + share * np.roll(video, 18, axis=2)
        return twice.astype(np.uint8)

    return spoil


def blurred(sigma: float) -> Callable[[Frames], Frames]:
    return lambda video: gaussian_filter(video.astype(np.float32), (0, sigma, sigma, 0)).astype(
        np.uint8
    )


def whole(video: Frames) -> Frames:
    return video
