"""Single frames of many people: more faces than the videos show, for the image encoder.

Every identity appears in several poses from the tracks of rendered utterances, so that a network
can distinguish a person's looks from the pose.
"""

import hashlib
from pathlib import Path

import numpy as np

from flashtalk.arrays import FloatArray, Frames
from training.core.progress import track
from training.data.synthtalk import IDENTITY_COLUMNS, SynthTalk, draw_identity, render
from training.data.synthtalk.renderer import RENDERER_VERSION

# Inside the seed range of the train split, far from the seeds of its utterances.
_FIRST_SEED = 900_000_000


class IdentityFrames:
    """``frames`` uint8 [N, P, H, W, 3] and ``identities`` float32 [N, D], memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.frames: Frames = np.load(folder / "frames.npy", mmap_mode="r")
        self.identities: FloatArray = np.load(folder / "identities.npy")

    def __len__(self) -> int:
        return len(self.identities)


def build_identity_frames(
    source: SynthTalk, cache_dir: Path, *, count: int, poses: int, seed: int = 0
) -> IdentityFrames:
    """Renders ``count`` identities in ``poses`` poses, or opens the files of an earlier call.

    Args:
        source: a rendered split; its tracks give the poses, its size is the frames' size.
        cache_dir: parent of a folder named after these arguments.
        count, poses: number of people, and of pictures of each.
        seed: of the poses.
    """
    size_hw = source.config.size_hw
    key = f"{source.config}{count}{poses}{seed}{RENDERER_VERSION}"
    folder = cache_dir / f"identities-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if (folder / "identities.npy").exists():
        return IdentityFrames(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    frames = np.lib.format.open_memmap(
        folder / "frames.npy", mode="w+", dtype=np.uint8, shape=(count, poses, *size_hw, 3)
    )
    identities = np.zeros((count, len(IDENTITY_COLUMNS)), dtype=np.float32)
    tracks_NTK = source.arrays["tracks"]
    for index in track("identities", range(count), count):
        identities[index] = draw_identity(_FIRST_SEED + index)
        rows = rng.integers(tracks_NTK.shape[0], size=poses)
        columns = rng.integers(tracks_NTK.shape[1], size=poses)
        frames[index] = render(identities[index], np.array(tracks_NTK[rows, columns]), size_hw)
    frames.flush()
    # The small file is written last and marks the large one as complete.
    np.save(folder / "identities.npy", identities)
    return IdentityFrames(folder)
