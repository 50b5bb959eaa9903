"""A stream without an end is measured as it runs: drift is seen and nothing is kept."""

import json
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flashtalk.errors import InputError
from flashtalk.streaming import StreamSpec
from training.data.synthtalk.identity import draw_identity
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.continuous import evaluate_stream
from training.evaluate.course import Course, write_course
from training.evaluate.probes import Probes
from training.evaluate.reference_clip import ReferenceClip

SIZE = (64, 64)
CHUNK = 28
SHORTEST_S = 34  # three blocks of ten chunks


def utterance(seed: int, seconds: int = 8) -> ReferenceClip:
    rng = np.random.default_rng(seed)
    frames = 25 * seconds
    tracks = np.zeros((frames, len(TRACK_COLUMNS)), np.float32)
    tracks[:, TRACK_INDEX["head_scale"]] = 1.0
    tracks[:, TRACK_INDEX["openness"]] = rng.random(frames).astype(np.float32)
    # The speech carries its own opening, so that a stand-in for a model can read it back.
    pcm = tracks[:, TRACK_INDEX["openness"]].repeat(640)
    mask = np.zeros(SIZE, bool)
    mask[2:40, :8] = True
    first = render(draw_identity(seed), tracks[:1], SIZE)
    return ReferenceClip(
        name=f"test {seed}",
        pcm_N=pcm,
        frames_THWC=first.repeat(frames, 0),
        tracks_TK=tracks,
        track_names=TRACK_COLUMNS,
        silent_T=np.zeros(frames, bool),
        mouth_THW=np.zeros((frames, *SIZE), bool),
        background_HW=mask,
    )


class Singer:
    """Renders the mouth that the speech asks for and counts the chunks that are still alive."""

    spec = StreamSpec()

    def __init__(self, *, fading: float = 0.0, deaf: bool = False) -> None:
        self.fading, self.deaf = fading, deaf
        self.alive = 0
        self.most_alive, self.ahead, self.read = 0, 0, 0

    def stream(
        self, portrait_HWC: np.ndarray, speech: Iterable[np.ndarray], *, prompt: str, seed: int
    ) -> Iterator[np.ndarray]:
        kept = np.zeros(0, np.float32)
        made = 0
        for packet in speech:
            kept = np.concatenate([kept, packet])
            self.read += len(packet) // 640
            while len(kept) >= 640 * CHUNK:
                yield self._chunk(kept[: 640 * CHUNK : 640], made)
                kept, made = kept[640 * CHUNK :], made + CHUNK
                self.ahead = max(self.ahead, self.read - made)
        if len(kept):
            yield self._chunk(kept[::640], made)

    def _gone(self) -> None:
        self.alive -= 1

    def _chunk(self, openness: np.ndarray, made: int) -> np.ndarray:
        tracks = np.zeros((len(openness), len(TRACK_COLUMNS)), np.float32)
        tracks[:, TRACK_INDEX["head_scale"]] = 1.0
        tracks[:, TRACK_INDEX["openness"]] = 0.5 if self.deaf else openness
        video = render(draw_identity(3), tracks, SIZE).astype(np.float32)
        video[..., 0] -= self.fading * made / 25
        shown = video.clip(0, 255).astype(np.uint8)
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        weakref.finalize(shown, self._gone)
        return shown


@pytest.fixture(scope="module")
def clips() -> list[ReferenceClip]:
    return [utterance(3), utterance(4)]


@pytest.fixture(scope="module")
def probes() -> Probes:
    return Probes.load()


@pytest.fixture(scope="module")
def sung(clips: list[ReferenceClip], probes: Probes) -> tuple[Singer, Course]:
    """A steady stream that two tests look at, and who made it."""
    singer = Singer()
    return singer, evaluate_stream(singer, clips, probes, seconds=48, marks_s=(10, 40, 100))


@pytest.fixture(scope="module")
def faded(clips: list[ReferenceClip], probes: Probes) -> Course:
    """A stream that loses its colour, for two tests, too."""
    return evaluate_stream(Singer(fading=1.0), clips, probes, seconds=SHORTEST_S, marks_s=(10, 30))


def test_truth_stays_and_a_fading_stream_drifts(
    clips: list[ReferenceClip], probes: Probes, sung: tuple[Singer, Course], faded: Course
) -> None:
    _, steady = sung
    assert steady.frames == 1200
    assert len(steady.curves["lip_corr"]) == 4  # the rest of 80 frames is no point
    assert min(steady.curves["lip_corr"]) > 0.95
    assert abs(steady.slopes["colour"]) < 0.1
    assert sorted(steady.marks) == [0.0, 10, 40]
    assert faded.slopes["colour"] > 10 > 0 > faded.slopes["background_db"]
    assert faded.curves["identity"][-1] > steady.curves["identity"][-1] + 0.1
    deaf = evaluate_stream(Singer(deaf=True), clips, probes, seconds=SHORTEST_S)
    assert max(np.abs(deaf.curves["lip_corr"])) < 0.3


def test_memory_is_one_block_however_long_the_stream(sung: tuple[Singer, Course]) -> None:
    singer, _ = sung
    # Ten chunks make a block; the block before it may not be gone yet.
    assert singer.most_alive <= 12
    assert singer.ahead <= CHUNK + 5


def test_marks_are_the_frames_of_their_seconds(clips: list[ReferenceClip], probes: Probes) -> None:
    class Counter:
        spec = StreamSpec()

        def stream(
            self, portrait_HWC: np.ndarray, speech: Iterable[np.ndarray], *, prompt: str, seed: int
        ) -> Iterator[np.ndarray]:
            for index, packet in enumerate(speech):
                shown = np.full((len(packet) // 640, *SIZE, 3), index, np.uint8)
                yield shown

    course = evaluate_stream(Counter(), clips, probes, seconds=SHORTEST_S, marks_s=(10, 30))
    assert course.marks[10].max() == 49  # frame 249 lies in packet 49 of 5 frames
    assert course.marks[30].max() == 149
    with pytest.raises(InputError, match="seconds"):
        evaluate_stream(Counter(), clips, probes, seconds=30)
    with pytest.raises(InputError, match="clips"):
        evaluate_stream(Counter(), [], probes, seconds=SHORTEST_S)


def test_the_course_is_written_and_drawn(faded: Course, tmp_path: Path) -> None:
    write_course(faded, tmp_path / "new", {"color_strength": 0.0})
    document = json.loads((tmp_path / "new" / "continuous.json").read_text())
    assert document["settings"]["color_strength"] == 0.0
    assert len(document["curves"]["colour"]) == 3
    assert "| colour error, dE |" in (tmp_path / "new" / "continuous.md").read_text()
    for name in ("continuous.png", "continuous-sheet.png"):
        assert np.asarray(Image.open(tmp_path / "new" / name)).std() > 10
