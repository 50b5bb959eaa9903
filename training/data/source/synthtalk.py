"""SynthTalk with the interface of all videos.

Legend: T frames, H W pixels, S samples.
"""

from __future__ import annotations

import numpy as np

from flashtalk.arrays import BoolArray, FloatArray, Frames, IntArray, Pcm
from flashtalk.media.image import cover
from training.data.buckets import SizeHW
from training.data.source.video import VideoFacts, check_range
from training.data.synthtalk.cache import SynthTalk
from training.data.synthtalk.cache_files import config_digest
from training.data.synthtalk.phonemes import SILENCE
from training.data.synthtalk.regions import mouth_box


class SynthTalkSource:
    """A rendered split as a ``VideoSource`` that ``KnowsMouths``; its ground truth is ``data``."""

    def __init__(self, data: SynthTalk) -> None:
        self.data = data

    @property
    def name(self) -> str:
        """Returns the split."""
        return self.data.config.split

    @property
    def digest(self) -> str:
        """Returns a digest of the config and the renderer."""
        return config_digest(self.data.config)

    def __len__(self) -> int:
        return len(self.data)

    def facts(self, index: int) -> VideoFacts:
        """Returns the facts of a video: one shot per utterance."""
        frames = self.data.config.frames
        return VideoFacts(
            key=f"utterance {index}",
            frames=frames,
            size_hw=self.data.config.size_hw,
            caption=self.data.captions[index],
            shots=((0, frames),),
        )

    def frames(self, index: int, first: int, count: int, size_hw: SizeHW) -> Frames:
        """Returns frames, scaled and cropped."""
        check_range(self.facts(index), first, count)
        frames_THWC = self.data.clip(index, first, count).frames
        if size_hw == self.data.config.size_hw:
            return frames_THWC
        return np.stack([cover(frame_HWC, size_hw) for frame_HWC in frames_THWC])

    def pcm(self, index: int, first: int, count: int) -> Pcm:
        """Returns the sound of frames."""
        check_range(self.facts(index), first, count)
        return self.data.clip(index, first, count).pcm_16k

    def quiet(self, index: int, first: int, count: int) -> BoolArray:
        """Returns which frames have no speech, from the phonemes; bool [count]."""
        check_range(self.facts(index), first, count)
        quiet_T: BoolArray = self.data.arrays["phonemes"][index, first : first + count] == SILENCE
        return quiet_T

    def mouth_boxes(self, index: int, frames_T: IntArray, size_hw: SizeHW) -> FloatArray:
        """Returns boxes around the lips, float32 [T, 4], from the tracks that drew them."""
        own_hw = self.data.config.size_hw
        tracks = self.data.arrays["tracks"][index][frames_T]
        boxes_T4 = mouth_box(tracks, self.data.identity(index), own_hw).astype(np.float32)
        if size_hw == own_hw:
            return boxes_T4
        # As for frames: scaled to cover the size and cropped to its centre.
        scale = max(size_hw[0] / own_hw[0], size_hw[1] / own_hw[1])
        cut = [(scale * own - asked) / 2 for own, asked in zip(own_hw, size_hw, strict=True)]
        return boxes_T4 * np.float32(scale) - np.asarray([*cut, *cut], dtype=np.float32)
