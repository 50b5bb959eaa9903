"""A held-out video with its complete ground truth.

Legend: T frames at 25 fps, H W pixels, N audio samples at 16 kHz, K track values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from flashtalk.arrays import BoolArray, FloatArray, Frames, Pcm, Rgb
from training.evaluate.digests import digest_of, digest_of_arrays


@dataclass(frozen=True)
class ReferenceClip:
    """Ground truth of one video.

    ``tracks_TK`` are the renderer's tracks; ``mouth_THW`` and ``background_HW`` are masks, the
    background being the pixels that the body never covers in the true video.  ``background_under``,
    if given, returns the same mask for other tracks [T, K], for a generated head's motion.
    ``drawn_under`` returns the person drawn with other tracks, uint8 [T, H, W, 3].
    """

    name: str
    pcm_N: Pcm
    frames_THWC: Frames
    tracks_TK: FloatArray
    track_names: tuple[str, ...]
    silent_T: BoolArray
    mouth_THW: BoolArray
    background_HW: BoolArray
    caption: str = ""
    background_under: Callable[[FloatArray], BoolArray] | None = None
    drawn_under: Callable[[FloatArray], Frames] | None = None

    @property
    def portrait_HWC(self) -> Rgb:
        """The picture that the generator gets: the first true frame."""
        portrait: Rgb = self.frames_THWC[0]
        return portrait

    @cached_property
    def digest(self) -> str:
        """Returns a digest of all inputs of the measures."""
        arrays = (
            self.pcm_N,
            self.frames_THWC,
            self.tracks_TK,
            self.silent_T,
            self.mouth_THW,
            self.background_HW,
        )
        return digest_of(
            {
                "name": self.name,
                "tracks": self.track_names,
                "caption": self.caption,
                "arrays": digest_of_arrays(arrays),
            }
        )

    def track(self, name: str) -> FloatArray:
        """Returns one true track [T]."""
        column: FloatArray = self.tracks_TK[:, self.track_names.index(name)]
        return column


class ReferenceClips(Protocol):
    """Clips by index; they may be loaded on access, since long ones are large."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ReferenceClip: ...
