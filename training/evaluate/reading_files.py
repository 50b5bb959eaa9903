"""Readings as named arrays, their form on disk."""

import json
from dataclasses import fields
from typing import Any

import numpy as np

from flashtalk.arrays import NamedArrays
from training.evaluate.frechet import Looks
from training.evaluate.probes import Measurement
from training.evaluate.reading import Reading

_TRACK = "track."
_PLAIN = "plain"
_NESTED = ("measured", "looks", "scores")


def pack_reading(reading: Reading) -> NamedArrays:
    """Every field; ``unpack_reading`` gives an equal reading."""
    arrays: NamedArrays = {
        f"{_TRACK}{name}": track for name, track in reading.measured.tracks.items()
    }
    arrays["identity_TD"] = reading.measured.identity_TD
    arrays["look_frames_TD"] = reading.looks.frames_TD
    arrays["look_drawn_TD"] = reading.looks.drawn_TD
    plain: dict[str, object] = {"scores": dict(reading.scores)}
    for name in _flat_fields():
        value = getattr(reading, name)
        if isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            plain[name] = value
    # Python's JSON can contain NaN; only Python reads this file.
    arrays[_PLAIN] = np.array(json.dumps(plain))
    return arrays


def unpack_reading(arrays: NamedArrays) -> Reading:
    """Returns the reading of ``pack_reading``.

    Raises:
        KeyError, ValueError, TypeError: a field is missing or has another form.
    """
    plain = json.loads(str(arrays[_PLAIN]))
    scores = plain.pop("scores")
    tracks = {name.removeprefix(_TRACK): arrays[name] for name in arrays if name.startswith(_TRACK)}
    flat: dict[str, Any] = {
        name: plain[name] if name in plain else arrays[name] for name in _flat_fields()
    }
    return Reading(
        measured=Measurement(tracks, arrays["identity_TD"]),
        looks=Looks(arrays["look_frames_TD"], arrays["look_drawn_TD"]),
        scores=scores,
        **flat,
    )


def _flat_fields() -> list[str]:
    return [one.name for one in fields(Reading) if one.name not in _NESTED]
