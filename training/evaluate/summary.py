"""Converts readings of many videos to rows, targets and curves of the report.

Legend: T frames, D identity numbers.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from flashtalk.arrays import DoubleArray, FloatArray
from training.evaluate.bootstrap import debiased
from training.evaluate.dynamics import (
    drift_per_chunk,
    dynamic_ratio,
    identity_distance,
    per_chunk,
)
from training.evaluate.fidelity import border_ratio
from training.evaluate.frechet import picture_distance
from training.evaluate.lips import closure, lip_corr, lip_lag
from training.evaluate.probes import HANDS, HEAD, MOUTH
from training.evaluate.reading import Reading, ReadingsByRow
from training.evaluate.report import Column, Table, TargetResult

TRUTH, VAE, GENERATED, WRONG = "ground truth", "truth through VAE", "generated", "wrong audio"

SHORT_COLUMNS = (
    Column("lip_corr", "LipCorr"),
    Column("lip_lag_frames", "LipLag", 0),
    Column("lip_corr_width", "width r"),
    Column("silence_openness", "open in silence"),
    Column("silence_closed", "closed in silence"),
    Column("mouth_dynamic", "mouth dyn"),
    Column("head_dynamic", "head dyn"),
    Column("hands_dynamic", "hands dyn"),
    Column("blink_dynamic", "blink dyn"),
    Column("psnr_db", "PSNR dB", 1),
    Column("mouth_psnr_db", "mouth dB", 1),
    Column("background_db", "backgr dB", 1),
    Column("border", "border"),
    Column("border_vs_vae", "border / VAE"),
    Column("patched", "patched %", 1),
    Column("patched_vs_vae", "patched / VAE", 1),
    Column("frechet", "Fréchet", 3),
    Column("identity_distance", "ID dist"),
    Column("fps", "fps", 1),
    Column("real_time_factor", "RTF"),
)

LONG_COLUMNS = (
    Column("lip_corr_first", "LipCorr first third"),
    Column("lip_corr_last", "last third"),
    Column("identity_first", "ID first 3 chunks"),
    Column("identity_last", "ID last 3"),
    Column("identity_slope", "ID slope", 4),
    Column("identified_last", "identified last 3"),
    Column("background_db_first", "backgr dB first", 1),
    Column("background_db_last", "last", 1),
    Column("background_db_slope", "slope", 3),
    Column("colour_last", "colour dE last"),
    Column("colour_slope", "slope", 3),
    Column("sharpness_last", "sharpness last"),
    Column("sharpness_slope", "slope", 4),
    Column("patched_first", "patched % first", 1),
    Column("patched_last", "last", 1),
)


def short_table(rows: ReadingsByRow, *, chunk_frames: int, fps: int) -> Table:
    """Short clips: lips, movement, fidelity, borders and speed of every row."""
    values = {name: _short_row(name, rows, chunk_frames, fps) for name in rows if rows[name]}
    return Table("Short clips", SHORT_COLUMNS, values)


def _short_row(name: str, rows: ReadingsByRow, chunk_frames: int, fps: int) -> dict[str, float]:
    readings = rows[name]
    truth = {reading.clip: reading for reading in rows[TRUTH]}
    same = [truth[reading.clip] for reading in readings]
    shut = closure(
        [r.measured.tracks["openness"] for r in readings], [r.silent_T for r in readings]
    )
    row = {
        **_lips(readings),
        "silence_openness": shut.mean_openness,
        "silence_closed": shut.closed_fraction,
        "background_db": _mean([r.background_db_T for r in readings]),
        "border": border_ratio([r.change_T for r in readings], chunk_frames=chunk_frames),
        "patched": _patched(readings),
        "frechet": _frechet(readings, same),
        "identity_distance": _mean([_identity(r) for r in readings]),
    }
    if name != TRUTH:
        row |= {
            f"{part}_dynamic": _dynamic(readings, same, names)
            for part, names in (
                ("mouth", MOUTH),
                ("head", HEAD),
                ("hands", HANDS),
                ("blink", ("blink",)),
            )
        }
    if name == VAE:
        row |= {
            "psnr_db": float(np.mean([r.whole_db for r in readings])),
            "mouth_psnr_db": float(np.mean([r.mouth_db for r in readings])),
        }
    if name == GENERATED:
        own = border_ratio([r.change_T for r in rows.get(VAE, ())], chunk_frames=chunk_frames)
        wall_s = sum(r.wall_s for r in readings)
        frames = sum(r.frames for r in readings)
        row |= {
            "border_vs_vae": row["border"] / own,
            "fps": frames / wall_s,
            "patched_vs_vae": _over(row["patched"], _patched(rows.get(VAE, ()))),
            "real_time_factor": wall_s * fps / frames,
        }
    return row


def _lips(readings: Sequence[Reading]) -> dict[str, float]:
    openness = [r.measured.tracks["openness"] for r in readings]
    truth = [r.openness_T for r in readings]
    return {
        "lip_corr": lip_corr(openness, truth),
        "lip_lag_frames": float(lip_lag(openness, truth)),
        "lip_corr_width": lip_corr(
            [r.measured.tracks["width"] for r in readings], [r.width_T for r in readings]
        ),
    }


def _dynamic(
    readings: Sequence[Reading], truth: Sequence[Reading], names: tuple[str, ...]
) -> float:
    return dynamic_ratio(
        [r.measured.stack(names) for r in readings], [r.measured.stack(names) for r in truth]
    )


def _identity(reading: Reading) -> DoubleArray:
    return identity_distance(reading.measured.identity_TD, reading.portrait_D)


def _mean(curves: Sequence[DoubleArray]) -> float:
    return float(np.mean(np.concatenate(curves)))


def _patched(readings: Sequence[Reading]) -> float:
    return _mean([r.patched_T for r in readings]) if readings else float("nan")


def _frechet(readings: Sequence[Reading], truth: Sequence[Reading]) -> float:
    def distance(chosen: Sequence[int]) -> float:
        return picture_distance(
            [readings[k].looks for k in chosen], [truth[k].looks for k in chosen]
        )

    return debiased(distance, len(readings))


def _over(value: float, reference: float) -> float:
    """Returns the ratio; NaN for a reference of 0."""
    return value / reference if reference > 0 else float("nan")


def drift_curves(rows: ReadingsByRow, *, chunk_frames: int) -> dict[str, dict[str, list[float]]]:
    """Measure -> row -> one value per chunk, mean over the long videos."""
    curves: dict[str, dict[str, list[float]]] = {}
    for name, readings in rows.items():
        if not readings:
            continue
        for measure, values in _long_values(rows, name).items():
            chunks = [per_chunk(v, chunk_frames=chunk_frames) for v in values]
            shortest = min(len(c) for c in chunks)
            mean = np.mean([c[:shortest] for c in chunks], axis=0)
            curves.setdefault(measure, {})[name] = [float(v) for v in mean]
    return curves


def _long_values(rows: ReadingsByRow, name: str) -> dict[str, list[DoubleArray]]:
    truth = {reading.clip: reading for reading in rows[TRUTH]}
    readings = rows[name]
    relative = [r.sharpness_T / truth[r.clip].sharpness_T.mean() for r in readings]
    return {
        "identity": [_identity(r) for r in readings],
        "identified": identified(readings),
        "background_db": [r.background_db_T for r in readings],
        "colour": [r.colour_T for r in readings],
        "sharpness": relative,
        "patched": [r.patched_T for r in readings],
    }


def identified(readings: Sequence[Reading]) -> list[DoubleArray]:
    """Returns, per video, 1.0 in the frames [T] whose nearest portrait of all clips is its own.

    With a single clip all values are one.
    """
    portraits_ND = np.stack([r.portrait_D for r in readings]).astype(np.float64)
    found = []
    for own, reading in enumerate(readings):
        difference_TND = reading.measured.identity_TD[:, None, :] - portraits_ND[None]
        nearest_T = (difference_TND**2).mean(axis=2).argmin(axis=1)
        found.append((nearest_T == own).astype(np.float64))
    return found


def stranger_distance(readings: Sequence[Reading]) -> float:
    """Returns the mean distance between different clips' portraits, the scale of ``ID dist``."""
    portraits_ND = np.stack([r.portrait_D for r in readings]).astype(np.float64)
    count = len(portraits_ND)
    if count < 2:
        return float("nan")
    distance_NN = np.sqrt(((portraits_ND[:, None] - portraits_ND[None]) ** 2).mean(axis=2))
    return float(distance_NN.sum() / (count * (count - 1)))


def long_table(rows: ReadingsByRow, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    """Long streams: where the first and last three chunks stand, and the slope between."""
    table: dict[str, dict[str, float]] = {}
    for name, readings in rows.items():
        if not readings:
            continue
        row: dict[str, float] = {}
        for end, part in (("first", slice(None, 3)), ("last", slice(-3, None))):
            for measure in (
                "identity",
                "identified",
                "background_db",
                "colour",
                "sharpness",
                "patched",
            ):
                row[f"{measure}_{end}"] = float(np.mean(curves[measure][name][part]))
        for measure in ("identity", "background_db", "colour", "sharpness"):
            row[f"{measure}_slope"] = drift_per_chunk(
                np.asarray(curves[measure][name], np.float64), chunk_frames=1
            )
        thirds = [
            (_part(r.measured.tracks["openness"], k), _part(r.openness_T, k))
            for k in (0, 2)
            for r in readings
        ]
        half = len(thirds) // 2
        for end, pairs in (("first", thirds[:half]), ("last", thirds[half:])):
            row[f"lip_corr_{end}"] = lip_corr([m for m, _ in pairs], [t for _, t in pairs])
        table[name] = row
    return Table("Long streams", LONG_COLUMNS, table)


def _part(track_T: FloatArray, third: int) -> FloatArray:
    edges = [len(track_T) * k // 3 for k in range(4)]
    return track_T[edges[third] : edges[third + 1]]


def targets(short: Table, long: Table | None) -> tuple[TargetResult, ...]:
    """Returns the shipped model's targets; those of rows that were not run are omitted."""
    found: list[TargetResult] = []
    generated = short.rows.get(GENERATED)
    vae = short.rows.get(VAE)
    if generated is not None:
        found += [
            TargetResult("LipCorr", generated["lip_corr"], low=0.75),
            TargetResult("LipLag, frames", generated["lip_lag_frames"], -1, 1),
            TargetResult("closed in silence", generated["silence_closed"], low=0.9),
            *(
                TargetResult(f"dynamic ratio, {part}", generated[f"{part}_dynamic"], 0.5, 1.5)
                for part in ("mouth", "head", "hands")
            ),
            TargetResult("chunk border / VAE's own", generated["border_vs_vae"], high=1.3),
            TargetResult("patched / VAE's own", generated["patched_vs_vae"], high=5.0),
            TargetResult("Fréchet distance", generated["frechet"], high=0.5),
        ]
    if vae is not None:
        found += [
            TargetResult("VAE PSNR, whole, dB", vae["psnr_db"], low=32),
            TargetResult("VAE PSNR, mouth, dB", vae["mouth_psnr_db"], low=28),
        ]
    if WRONG in short.rows:
        wrong = abs(short.rows[WRONG]["lip_corr"])
        found.append(TargetResult("wrong audio, |LipCorr|", wrong, high=0.2))
    if long is not None and GENERATED in long.rows:
        end = long.rows[GENERATED]
        found += [
            TargetResult("identified at the end", end["identified_last"], low=0.95),
            TargetResult("LipCorr, last third", end["lip_corr_last"], low=0.75),
        ]
    return tuple(found)
