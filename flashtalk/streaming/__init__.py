"""The stream's time: chunk geometry, windows, the clock and a stream's position
(numpy only)."""

from flashtalk.arrays import Pcm
from flashtalk.streaming.clock import AudioChunk, ChunkClock, chunks, frame_count
from flashtalk.streaming.position import Position
from flashtalk.streaming.size import parse_size_hw
from flashtalk.streaming.spec import FPS, PCM_HZ, PRESET_SPECS, StreamSpec, preset_spec
from flashtalk.streaming.windows import chunk_window_indices, window_indices

__all__ = [
    "FPS",
    "PCM_HZ",
    "PRESET_SPECS",
    "AudioChunk",
    "ChunkClock",
    "Pcm",
    "Position",
    "StreamSpec",
    "chunk_window_indices",
    "chunks",
    "frame_count",
    "parse_size_hw",
    "preset_spec",
    "window_indices",
]
