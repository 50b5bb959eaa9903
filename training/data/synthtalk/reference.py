"""Choice of the reference frame of a training clip (training.md 1.1, item 3: never from inside)."""

import numpy as np

from flashtalk.errors import InputError
from flashtalk.streaming import FPS

NEAREST_S, FARTHEST_S = 1.0, 10.0


def reference_frame(rng: np.random.Generator, first: int, frames: int, total: int) -> int:
    """A frame outside ``[first, first + frames)``, 1 to 10 s from the clip's edges if possible.

    Args:
        rng: source of the choice.
        first: first frame of the clip.
        frames: length of the clip.
        total: frames of the whole video.

    Raises:
        InputError: the clip leaves the video, or fills it so that no frame is outside.
    """
    if first < 0 or frames < 1 or first + frames > total:
        raise InputError("first, frames", (first, frames), f"a clip inside 0 .. {total}")
    if frames == total:
        raise InputError("frames", frames, f"fewer than the video's {total}, to leave a reference")
    every = np.arange(total)
    distance = np.where(every < first, first - every, every - (first + frames - 1))
    outside = (every < first) | (every >= first + frames)
    near, far = int(NEAREST_S * FPS), int(FARTHEST_S * FPS)
    preferred = every[outside & (distance >= near) & (distance <= far)]
    return int(rng.choice(preferred if len(preferred) else every[outside]))
