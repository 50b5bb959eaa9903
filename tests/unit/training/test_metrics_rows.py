"""Rows, targets and round trips, from readings and codecs whose answers are known."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from flashtalk.streaming import StreamSpec
from training.evaluate.dynamics import identity_distance
from training.evaluate.frechet import Looks
from training.evaluate.probes import MOUTH_OUTPUTS, POSE_OUTPUTS, Measurement
from training.evaluate.reading import Reading
from training.evaluate.report import TargetResult
from training.evaluate.round_trip import through_vae
from training.evaluate.summary import (
    GENERATED,
    LONG_COLUMNS,
    SHORT_COLUMNS,
    TRUTH,
    VAE,
    WRONG,
    drift_curves,
    identified,
    long_table,
    short_table,
    stranger_distance,
    targets,
)

CHUNK = 28
PERSON = 12


def looks(rng: np.random.Generator) -> Looks:
    seen = rng.normal(size=(40, 8)).astype(np.float32)
    return Looks(seen, seen)


def reading(clip: int, *, chunks: int = 6, lips: str = "true", drift: float = 0.0) -> Reading:
    rng = np.random.default_rng(clip)
    frames = chunks * CHUNK
    openness = np.convolve(rng.random(frames), [0.25, 0.5, 0.25], "same").astype(np.float32)
    silent = np.zeros(frames, bool)
    silent[10:30] = True
    openness[silent] = 0.0
    shown = {
        "true": openness,
        "late": np.roll(openness, 3),
        "frozen": np.full(frames, 0.4, np.float32),
        "other": np.random.default_rng(clip + 99).random(frames).astype(np.float32),
    }[lips]
    moves = 0.0 if lips == "frozen" else 1.0
    tracks = {
        name: (moves * rng.normal(size=frames)).astype(np.float32)
        for name in (*POSE_OUTPUTS, *MOUTH_OUTPUTS)
    }
    portrait = rng.normal(size=PERSON).astype(np.float32)
    walk = drift * np.arange(frames)[:, None] / CHUNK
    change = np.ones(frames - 1)
    change[CHUNK - 1 :: CHUNK] = 1.5
    return Reading(
        clip=f"clip {clip}",
        measured=Measurement({**tracks, "openness": shown}, (portrait + walk).astype(np.float32)),
        portrait_D=portrait,
        openness_T=openness,
        width_T=tracks["width"],
        silent_T=silent,
        change_T=change,
        sharpness_T=np.ones(frames),
        background_db_T=40.0 - walk[:, 0],
        colour_T=walk[:, 0],
        patched_T=np.full(frames, 0.5),
        looks=looks(rng),
        whole_db=33.0,
        mouth_db=29.0,
        wall_s=frames / 50.0,
    )


def rows(**lips: str) -> dict[str, list[Reading]]:
    names = {"truth": TRUTH, "vae": VAE, "generated": GENERATED, "wrong": WRONG}
    return {
        long: [reading(clip, lips=lips.get(short, "true")) for clip in range(4)]
        for short, long in names.items()
    }


def test_good_rows_meet_every_target() -> None:
    table = short_table(rows(wrong="other"), chunk_frames=CHUNK, fps=25)
    generated = table.rows[GENERATED]
    assert generated["lip_corr"] == pytest.approx(1.0)
    assert generated["fps"] == pytest.approx(50.0)
    assert generated["real_time_factor"] == pytest.approx(0.5)
    assert generated["border"] == pytest.approx(1.5)
    assert generated["border_vs_vae"] == pytest.approx(1.0)
    assert generated["head_dynamic"] == pytest.approx(1.0)
    found = targets(table, None)
    assert len(found) == 12
    assert [t.name for t in found if not t.met] == []


@pytest.mark.parametrize(
    ("lips", "missed"),
    [
        ("late", {"LipCorr", "LipLag, frames"}),
        (
            "frozen",
            {
                "LipCorr",
                "closed in silence",
                "dynamic ratio, mouth",
                "dynamic ratio, head",
                "dynamic ratio, hands",
            },
        ),
        ("other", {"LipCorr", "closed in silence"}),
    ],
)
def test_broken_video_misses_its_targets(lips: str, missed: set[str]) -> None:
    table = short_table(rows(generated=lips, wrong="other"), chunk_frames=CHUNK, fps=25)
    assert missed <= {t.name for t in targets(table, None) if not t.met}


def test_lips_that_follow_the_wrong_audio_anyway_are_caught() -> None:
    table = short_table(rows(), chunk_frames=CHUNK, fps=25)
    assert "wrong audio, |LipCorr|" in {t.name for t in targets(table, None) if not t.met}


def test_rows_that_were_not_run_are_left_out() -> None:
    only = {TRUTH: rows()[TRUTH], VAE: rows()[VAE], GENERATED: [], WRONG: []}
    table = short_table(only, chunk_frames=CHUNK, fps=25)
    assert list(table.rows) == [TRUTH, VAE]
    assert {t.name for t in targets(table, None)} == {"VAE PSNR, whole, dB", "VAE PSNR, mouth, dB"}


def test_every_value_has_a_column() -> None:
    table = short_table(rows(), chunk_frames=CHUNK, fps=25)
    keys = {column.key for column in SHORT_COLUMNS}
    assert set().union(*table.rows.values()) == keys
    long_rows = {n: [reading(c, chunks=12) for c in range(2)] for n in (TRUTH, GENERATED)}
    long = long_table(long_rows, drift_curves(long_rows, chunk_frames=CHUNK))
    shown = {column.key for column in LONG_COLUMNS}
    assert shown <= set(long.rows[GENERATED])


def test_drift_is_seen_and_its_absence_too() -> None:
    long_rows = {
        TRUTH: [reading(clip, chunks=12) for clip in range(3)],
        GENERATED: [reading(clip, chunks=12, drift=0.5) for clip in range(3)],
    }
    curves = drift_curves(long_rows, chunk_frames=CHUNK)
    assert len(curves["identity"][GENERATED]) == 12
    table = long_table(long_rows, curves)
    assert table.rows[TRUTH]["identity_slope"] == pytest.approx(0.0, abs=1e-6)
    assert table.rows[GENERATED]["identity_slope"] == pytest.approx(0.5, rel=1e-3)
    assert table.rows[GENERATED]["background_db_slope"] == pytest.approx(-0.5, rel=1e-3)
    assert table.rows[GENERATED]["lip_corr_last"] == pytest.approx(1.0)


def test_identity_is_lost_when_another_portrait_becomes_nearer() -> None:
    kept = [reading(clip) for clip in range(3)]
    assert all(found.mean() == 1.0 for found in identified(kept))
    apart = [
        identity_distance(a.portrait_D[None], b.portrait_D)
        for a, b in itertools.combinations(kept, 2)
    ]
    assert stranger_distance(kept) == pytest.approx(np.mean(apart))
    swapped = kept[0].measured.identity_TD * 0 + kept[1].portrait_D
    lost = dataclasses.replace(
        kept[0], measured=dataclasses.replace(kept[0].measured, identity_TD=swapped)
    )
    assert identified([lost, *kept[1:]])[0].mean() == 0.0
    assert math.isnan(stranger_distance(kept[:1]))


def test_unmeasured_targets_are_missed() -> None:
    assert not TargetResult("x", float("nan"), low=0).met


class Stub:
    """A codec that keeps the pixels and counts its chunks; ``seam`` brightens every chunk more."""

    def __init__(self, seam: float = 0.0) -> None:
        self.chunks: list[torch.Tensor] = []
        self.seam = seam

    def encode(self, video_BCTHW: torch.Tensor) -> torch.Tensor:
        self.chunks.append(video_BCTHW)
        return video_BCTHW

    def decode(self, z_BCFHW: torch.Tensor) -> torch.Tensor:
        return z_BCFHW + self.seam * len(self.chunks)


def test_lossless_codec_returns_the_video_of_any_length() -> None:
    for frames in (1, 27, 28, 29, 100):
        video = np.random.default_rng(frames).integers(0, 256, (frames, 8, 8, 3), np.uint8)
        assert (through_vae(Stub(), video, spec=StreamSpec()) == video).all()


def test_round_trip_cuts_the_streams_chunks() -> None:
    codec = Stub(seam=0.1)
    video = np.full((60, 8, 8, 3), 100, np.uint8)
    back = through_vae(codec, video, spec=StreamSpec())
    assert [tuple(c.shape) for c in codec.chunks] == [(1, 3, 33, 8, 8)] * 3
    steps = np.flatnonzero(np.diff(back[:, 0, 0, 0].astype(int)))
    assert steps.tolist() == [27, 55]
