"""Writes MP4 files atomically, with pictures and audio synchronised to the sample.

H.264 at a constant frame rate without reordering, AAC at the stream's own sampling rate. The AAC
encoder starts with 1,024 priming samples. The file's edit list tells players to skip them, and
also ends the audio at its last real sample, in units of the sampling rate (the movie's time scale
is set to it; the usual 1 ms would round). So sample 0 plays with frame 0, and both tracks have
exactly the same length. A program that decodes the packets itself finds zeros after that end.

Legend: T frames, H W pixels, C channels (3), S samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from flashtalk.arrays import Frames, Pcm
from flashtalk.errors import InputError
from flashtalk.media.packets import (
    access_unit,
    picture,
    set_color,
    sound,
    sound_track,
    unit_track,
)
from flashtalk.media.room import DiskFullError, Room
from flashtalk.media.target import Target

_X264 = {"preset": "veryfast", "crf": "17", "bf": "0"}


class Mp4Writer:
    """Writes frames and their audio to a hidden file, which becomes ``path`` at the end.

    As a context manager it finishes the file when the block ends, and also when the block is
    interrupted (KeyboardInterrupt) or the disk is full (DiskFullError) after at least one frame.
    After any other error, and without a frame, it leaves no file.

    Args:
        path: the target, ending in .mp4; an existing file is replaced at the end (``Target``).
        fps: frames per second.
        size_hw: height and width in pixels, even numbers (H.264 stores colour at half size).
        pcm_hz: sampling rate of the audio, a multiple of ``fps``.
        encoded: whether pictures are already H.264 (``write_encoded``) and are stored unchanged.

    Raises:
        InputError: an invalid size or name, or an unwritable path; before any work.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        fps: int,
        size_hw: tuple[int, int],
        pcm_hz: int,
        encoded: bool = False,
    ) -> None:
        self.path = Path(path)
        self.fps, self.size_hw, self.pcm_hz = fps, size_hw, pcm_hz
        self.frames, self._encoded, self._coded = 0, encoded, 0
        if min(size_hw) <= 0 or size_hw[0] % 2 or size_hw[1] % 2:
            raise InputError("size", f"{size_hw[1]}x{size_hw[0]}", "width and height must be even")
        if pcm_hz % fps:
            raise InputError("pcm_hz", pcm_hz, f"must be a multiple of fps ({fps})")
        self._target = Target(self.path)
        self._room = Room(self.path, self._target.partial.parent, size_hw)
        self._container: OutputContainer | None = None
        try:
            self._container = av.open(
                f"file:{self._target.partial}",
                "w",
                format="mp4",
                options={"movflags": "+faststart", "movie_timescale": str(pcm_hz)},
            )
            self._video = self._video_track(self._container, encoded=encoded)
            self._audio = sound_track(self._container, pcm_hz)
        except BaseException as error:
            self.discard()
            if isinstance(error, av.FFmpegError):
                raise InputError("out", self.path, f"not writable ({error.strerror})") from error
            raise

    def write(self, frames_THWC: Frames, pcm_S: Pcm) -> None:
        """Appends frames and exactly their audio.

        Args:
            frames_THWC: uint8 [T, H, W, 3].
            pcm_S: float32 [T * pcm_hz / fps]; clipped to [-1, 1].

        Raises:
            InputError: wrong shapes, or writing failed.
            DiskFullError: the disk is full; the video up to the previous frame can be finished.
        """
        if self._container is None:
            raise InputError("out", self.path, "already finished")
        expected = (len(frames_THWC), *self.size_hw, 3)
        if frames_THWC.shape != expected or frames_THWC.dtype != np.uint8:
            raise InputError("frames", list(frames_THWC.shape), f"uint8 {list(expected)}")
        per_frame = self.pcm_hz // self.fps
        if pcm_S.shape != (len(frames_THWC) * per_frame,):
            raise InputError("pcm", list(pcm_S.shape), f"{per_frame} samples per frame")
        for index, frame_HWC in enumerate(frames_THWC):
            self._room.check(self.frames, self.frames - self._coded, 0)
            packets = self._video.encode(picture(frame_HWC, self.frames, self.fps))
            self._coded += len(packets)
            self._mux(self._container, packets)
            self._hear(self._container, pcm_S[index * per_frame : (index + 1) * per_frame])

    def write_encoded(self, video: bytes, pcm_S: Pcm, *, key_frame: bool) -> None:
        """Appends one picture that is already H.264, and its audio; only with ``encoded``.

        Args:
            video: an access unit in Annex B form; the first one contains its parameter sets.
            pcm_S: float32 [pcm_hz / fps].
            key_frame: whether a player may start here.

        Raises:
            InputError: a wrong amount of audio, or writing failed.
            DiskFullError: the disk is full; the video up to the previous frame can be finished.
        """
        if self._container is None:
            raise InputError("out", self.path, "already finished")
        if pcm_S.shape != (self.pcm_hz // self.fps,):
            raise InputError("pcm", list(pcm_S.shape), f"{self.pcm_hz // self.fps} samples")
        self._room.check(self.frames, 0, len(video))
        packet = access_unit(video, self._video, self.frames, self.fps, key_frame=key_frame)
        self._mux(self._container, [packet])
        self._hear(self._container, pcm_S)

    def close(self) -> None:
        """Finishes the file and moves it to ``path``; without a frame, leaves no file."""
        if self._container is None:
            return
        if not self.frames:
            self.discard()
            return
        try:
            if not self._encoded:
                self._mux(self._container, self._video.encode(None))
            self._mux(self._container, self._audio.encode(None))
            self._container.close()
            self._container = None
            self._target.finish()
        except OSError as error:
            raise InputError("out", self.path, f"not writable ({error.strerror})") from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Removes the unfinished file; no effect after ``close``."""
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        except OSError:
            pass  # the file is discarded anyway
        finally:
            self._target.discard()

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt | DiskFullError):
            self.close()
        else:
            self.discard()

    def _video_track(self, container: OutputContainer, *, encoded: bool) -> VideoStream:
        if encoded:
            return unit_track(container, self.fps, self.size_hw)
        track = container.add_stream("libx264", rate=self.fps, options=_X264)
        track.height, track.width = self.size_hw
        track.pix_fmt = "yuv420p"
        context = track.codec_context
        context.time_base = Fraction(1, self.fps)
        set_color(context)
        return track

    def _hear(self, container: OutputContainer, pcm_S: Pcm) -> None:
        """Writes the audio of the last picture, which completes the frame."""
        heard = sound(pcm_S, self.frames, self.fps, self.pcm_hz)
        self._mux(container, self._audio.encode(heard))
        self.frames += 1

    def _mux(self, container: OutputContainer, packets: Iterable[Packet[Any]]) -> None:
        try:
            for packet in packets:
                container.mux(packet)
        except OSError as error:
            raise InputError("out", self.path, f"not writable ({error.strerror})") from error


def check_target(path: Path | str) -> None:
    """Checks that a video can be written to a path; leaves no file.

    Raises:
        InputError: an invalid name, a missing folder, or an unwritable path.
    """
    Target(Path(path)).discard()
