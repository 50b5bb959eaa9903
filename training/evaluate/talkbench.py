"""The main table: every row of the short clips and the long streams with the report's columns.

Report, Table 1 and section 3 (TalkBench-Short and -Long), with additional measures that need
rendered data.

Legend: T frames.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from training.evaluate.bootstrap import Interval, interval, pseudo_values
from training.evaluate.dynamics import drift_per_chunk, dynamic_ratio, identity_distance
from training.evaluate.fidelity import border_ratio
from training.evaluate.frechet import picture_distance
from training.evaluate.lips import lip_corr, lip_lag
from training.evaluate.probes import HANDS, HEAD, MOUTH
from training.evaluate.reading import Reading, ReadingsByRow
from training.evaluate.report import Column, Table, VideoValues

TITLE = "TalkBench"
SHORT, LONG = "short", "long"
TRUTH_ROW = "ground truth"

UP, DOWN = "↑", "↓"
COLUMNS = (
    Column("ase", f"ASE {UP}"),
    Column("iqa", f"IQA {UP}"),
    Column("sync_c", f"Sync-C {UP}"),
    Column("sync_d", f"Sync-D {DOWN}"),
    Column("sync_offset", "offset", 0),
    Column("sync_c_own", f"Sync-C own {UP}", 3),
    Column("sync_d_own", f"Sync-D own {DOWN}", 3),
    Column("sync_offset_own", "offset own", 0),
    Column("lip_corr", f"LipCorr {UP}"),
    Column("lip_lag_frames", "LipLag", 0),
    Column("subject_c", f"Subject-C {UP}"),
    Column("id_c", f"ID-C {UP}"),
    Column("bg_c", f"BG-C {UP}"),
    Column("bg_pixel_c", f"BG-pixel {UP}"),
    Column("motion_s", f"Motion-S {UP}"),
    Column("motion_linear", f"Motion-lin {UP}"),
    Column("temporal_f", f"Temporal-F {UP}"),
    Column("sharpness", "sharpness"),
    Column("dynamic", "dynamic"),
    Column("border", f"border {DOWN}"),
    Column("patched", f"patched % {DOWN}"),
    Column("frechet", f"Fréchet {DOWN}", 3),
    Column("identity_slope", f"ID slope {DOWN}", 4),
    Column("background_db_slope", f"backgr dB slope {UP}", 3),
    Column("colour_slope", f"colour slope {DOWN}", 3),
    Column("sharpness_slope", "sharpness slope", 4),
    Column("fps", f"FPS {UP}", 1),
)
# Whole frames: their mean over resamples is meaningless.
WITHOUT_INTERVAL = frozenset({"sync_offset", "sync_offset_own", "lip_lag_frames"})
# Biased with few videos: the table contains the jackknife's value.
_BIASED = ("frechet",)
_MEDIANS = ("sync_offset", "sync_offset_own")


def talkbench_table(
    short: ReadingsByRow, long: ReadingsByRow, *, chunk_frames: int
) -> tuple[Table, dict[str, VideoValues]]:
    """Returns the table with its intervals, and every video's contribution to every number.

    Row names are ``short: generated`` and so on; columns without values are omitted.
    """
    values: dict[str, Mapping[str, float]] = {}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    videos: dict[str, VideoValues] = {}
    for subset, rows in ((SHORT, short), (LONG, long)):
        for name, readings in rows.items():
            if not readings:
                continue
            row = f"{subset}: {name}"
            values[row], shares = _row(readings, rows[TRUTH_ROW], subset, chunk_frames)
            videos[row] = VideoValues(tuple(r.clip for r in readings), shares)
            bounds: dict[str, Interval] = {
                key: interval(values[row][key], [share]) for key, share in shares.items()
            }
            intervals[row] = {key: (found.low, found.high) for key, found in bounds.items()}
    filled = set().union(*values.values()) if values else set()
    columns = tuple(column for column in COLUMNS if column.key in filled)
    return Table(TITLE, columns, values, intervals), videos


def _row(
    readings: Sequence[Reading], truth: Sequence[Reading], subset: str, chunk_frames: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    truth_of = {reading.clip: reading for reading in truth}

    def measure(indices: Sequence[int]) -> dict[str, float]:
        chosen = [readings[k] for k in indices]
        same = [truth_of[reading.clip] for reading in chosen]
        found = _measured(chosen, same, chunk_frames)
        return found | (_slopes(chosen, same, chunk_frames) if subset == LONG else {})

    shares = pseudo_values(measure, len(readings))
    kept = {key: share for key, share in shares.items() if key not in WITHOUT_INTERVAL}
    values = measure(range(len(readings)))
    if len(readings) > 1:
        values |= {name: float(np.mean(shares[name])) for name in _BIASED}
    return values, kept


def _measured(
    readings: Sequence[Reading], truth: Sequence[Reading], chunk_frames: int
) -> dict[str, float]:
    openness = [r.measured.tracks["openness"] for r in readings]
    spoken = [r.openness_T for r in readings]
    relative = [
        r.sharpness_T.mean() / t.sharpness_T.mean() for r, t in zip(readings, truth, strict=True)
    ]
    found = {
        **_scores(readings),
        "lip_corr": lip_corr(openness, spoken),
        "lip_lag_frames": float(lip_lag(openness, spoken)),
        "sharpness": float(np.mean(relative)),
        "border": border_ratio([r.change_T for r in readings], chunk_frames=chunk_frames),
        "patched": float(np.mean([r.patched_T.mean() for r in readings])),
        "frechet": picture_distance([r.looks for r in readings], [t.looks for t in truth]),
        "dynamic": _dynamic(readings, truth),
    }
    wall_s = sum(r.wall_s for r in readings)
    return found | ({"fps": sum(r.frames for r in readings) / wall_s} if wall_s > 0 else {})


def _scores(readings: Sequence[Reading]) -> dict[str, float]:
    """Returns means over the videos; for offsets the median, a whole frame for an odd number."""
    names = sorted(set().union(*(r.scores for r in readings)))
    columns = {n: [r.scores.get(n, float("nan")) for r in readings] for n in names}
    return {n: float(np.median(v) if n in _MEDIANS else np.mean(v)) for n, v in columns.items()}


def _dynamic(readings: Sequence[Reading], truth: Sequence[Reading]) -> float:
    """Returns the mean of the dynamic ratios of mouth, head and hands."""
    parts = [
        dynamic_ratio(
            [r.measured.stack(names) for r in readings], [t.measured.stack(names) for t in truth]
        )
        for names in (MOUTH, HEAD, HANDS)
    ]
    return float(np.mean(parts))


def _slopes(
    readings: Sequence[Reading], truth: Sequence[Reading], chunk_frames: int
) -> dict[str, float]:
    """Returns drift per chunk, mean of the videos' least-squares slopes."""
    curves = {
        "identity": [identity_distance(r.measured.identity_TD, r.portrait_D) for r in readings],
        "background_db": [r.background_db_T for r in readings],
        "colour": [r.colour_T for r in readings],
        "sharpness": [
            r.sharpness_T / t.sharpness_T.mean() for r, t in zip(readings, truth, strict=True)
        ],
    }
    return {
        f"{name}_slope": float(
            np.mean([drift_per_chunk(c, chunk_frames=chunk_frames) for c in found])
        )
        for name, found in curves.items()
    }
