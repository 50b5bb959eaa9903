"""``python -m training.data.synthtalk.contact_sheet OUT.png``: the data set in one picture.

Above: people of the test split at 160x160. Below: one utterance over time at the training size of
64x64, every third frame, with its openness track (orange) over the waveform (blue).
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from flashtalk.arrays import Frames, Rgb
from training.data.synthtalk.motion import SAMPLES_PER_FRAME
from training.data.synthtalk.tracks import TRACK_INDEX
from training.data.synthtalk.utterance import SynthTalkConfig, Utterance, make_utterance

_COLUMNS, _LARGE_PX, _SMALL_PX, _STEP = 7, 160, 64, 3
_STRIP_ROWS, _STRIP_COLUMNS, _PLOT_PX = 2, 14, 40
_FIRST_FRAME = 40
_PEOPLE = (5, 1, 31, 14, 25, 36, 6, 13, 20, 34, 24, 35, 15, 39)
_PAPER, _SOUND, _OPENNESS = (250, 250, 248), (90, 130, 180), (225, 120, 40)


def _grid(frames: Frames, columns: int, enlarge: int) -> Rgb:
    count, height, width, _ = frames.shape
    rows = frames.reshape(count // columns, columns, height, width, 3)
    grid = rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * width, 3)
    size = (grid.shape[1] * enlarge, grid.shape[0] * enlarge)
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.NEAREST))


def _plot(utterance: Utterance, first: int, frames: int, width_px: int) -> Rgb:
    """Waveform and openness of a stretch of an utterance."""
    plot = np.full((_PLOT_PX, width_px, 3), _PAPER, dtype=np.uint8)
    pcm = utterance.pcm_16k[first * SAMPLES_PER_FRAME : (first + frames) * SAMPLES_PER_FRAME]
    openness = utterance.tracks[first : first + frames, TRACK_INDEX["openness"]]
    edges = np.linspace(0, len(pcm), width_px + 1).astype(int)
    places = (np.arange(width_px) + 0.5) / width_px * frames - 0.5
    heights = np.interp(places, np.arange(frames), openness)
    for column in range(width_px):
        reach = float(np.abs(pcm[edges[column] : edges[column + 1]]).max())
        half = round(reach * 0.5 * (_PLOT_PX - 4))
        plot[_PLOT_PX // 2 - half : _PLOT_PX // 2 + half + 1, column] = _SOUND
        row = round(float(1.0 - heights[column]) * (_PLOT_PX - 5)) + 1
        plot[row : row + 2, column] = _OPENNESS
    return plot


def data_set_sheet() -> Rgb:
    """The whole picture, uint8 ``[H, W, 3]``."""
    config = SynthTalkConfig("test", 64, 8.0)
    people = [make_utterance(config, index) for index in _PEOPLE]
    large = np.concatenate(
        [
            person.render(60 + 5 * place, 1, (_LARGE_PX, _LARGE_PX))
            for place, person in enumerate(people)
        ]
    )
    parts = [_grid(large, _COLUMNS, 1)]
    width = parts[0].shape[1]
    speaker = people[2]
    frames = _STRIP_COLUMNS * _STEP
    for row in range(_STRIP_ROWS):
        first = _FIRST_FRAME + row * frames
        small = speaker.render(first, frames, (_SMALL_PX, _SMALL_PX))[::_STEP]
        strip = Image.fromarray(_grid(small, _STRIP_COLUMNS, 1))
        high = round(strip.height * width / strip.width)
        parts.append(np.asarray(strip.resize((width, high), Image.Resampling.LANCZOS)))
        parts.append(_plot(speaker, first, frames, width))
    return np.concatenate(parts)


if __name__ == "__main__":
    Image.fromarray(data_set_sheet()).save(Path(sys.argv[1]), optimize=True)
