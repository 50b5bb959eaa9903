"""Identities: all constant properties of a person and a scene.

An identity is one flat float32 vector ``[len(IDENTITY_COLUMNS)]``, so that a network can be trained
to regress it. Colours are RGB in [0, 1]; the remaining columns are in [0, 1] unless said otherwise.
The person comes first (``PERSON_COLUMNS`` columns), then the scene.
"""

import colorsys

import numpy as np

from flashtalk.arrays import FloatArray

SHAPE_SLOTS = 4

_COLOURS = ("skin", "hair", "eye", "lip", "shirt")
_PERSON = (
    "face_width",  # narrow .. wide
    "jaw",  # square .. pointed
    "eye_spacing",
    "eye_size",
    "brow_thickness",
    "nose_length",
    "mouth_size",
    "hair_length",  # cropped .. below the shoulders
    "hair_volume",
    "hairline",  # high forehead .. fringe
    "parting",  # left .. right
    "shoulders",  # narrow .. broad
    "neckline",  # crew neck .. deep V
)
_SHAPE = ("kind", "x", "y", "size", "aspect", "texture", "red", "green", "blue")


def _columns() -> tuple[tuple[str, ...], int]:
    names = [f"{part}_{channel}" for part in _COLOURS for channel in ("red", "green", "blue")]
    names += list(_PERSON)
    person = len(names)
    for part in ("wall_top", "wall_bottom"):
        names += [f"{part}_{channel}" for channel in ("red", "green", "blue")]
    names += [f"shape{slot}_{field}" for slot in range(SHAPE_SLOTS) for field in _SHAPE]
    return tuple(names), person


# shape<i>_kind: 0 absent, 1/3 disc, 2/3 box, 1 window-like frame; shape<i>_texture: 0 plain,
# 0.5 stripes, 1 checks. x and y run over the frame from its left and top edge.
IDENTITY_COLUMNS, PERSON_COLUMNS = _columns()
IDENTITY_INDEX: dict[str, int] = {name: column for column, name in enumerate(IDENTITY_COLUMNS)}

_SKIN = (
    (255, 224, 196),
    (241, 194, 160),
    (224, 172, 130),
    (198, 134, 92),
    (150, 95, 62),
    (105, 66, 45),
)
_HAIR = (
    (28, 24, 26),
    (58, 38, 28),
    (96, 60, 36),
    (140, 74, 36),
    (206, 162, 92),
    (236, 208, 148),
    (150, 148, 150),
    (172, 52, 40),
    (60, 70, 120),
)
_EYE = ((74, 44, 24), (112, 78, 40), (70, 110, 64), (62, 112, 168), (96, 120, 132))


def _blend(rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...]) -> FloatArray:
    """A colour near one palette entry, mixed a little with a neighbour."""
    index = int(rng.integers(len(palette)))
    other = min(index + 1, len(palette) - 1)
    mix = rng.uniform(0.0, 0.5)
    colour = (1 - mix) * np.array(palette[index]) + mix * np.array(palette[other])
    return np.clip(colour / 255.0 + rng.normal(0, 0.012, 3), 0.02, 0.98).astype(np.float32)


def _hsv(hue: float, saturation: float, value: float) -> FloatArray:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), dtype=np.float32)


def _luma(colour: FloatArray) -> float:
    return float(colour @ np.array([0.299, 0.587, 0.114], dtype=np.float32))


def _person_colours(rng: np.random.Generator) -> list[FloatArray]:
    skin = _blend(rng, _SKIN)
    hair = _blend(rng, _HAIR)
    while abs(_luma(hair) - _luma(skin)) < 0.13:
        hair = _blend(rng, _HAIR)
    rose = _hsv(rng.uniform(0.95, 1.01), rng.uniform(0.62, 0.78), rng.uniform(0.55, 0.82))
    lip = (0.3 * skin + 0.7 * rose).astype(np.float32)
    shirt = _hsv(rng.uniform(), rng.uniform(0.25, 0.8), rng.uniform(0.3, 0.9))
    return [skin, hair, _blend(rng, _EYE), lip, shirt]


def _place(rng: np.random.Generator) -> list[FloatArray]:
    hue, value = rng.uniform(), rng.uniform(0.5, 0.92)
    top = _hsv(hue, rng.uniform(0.08, 0.4), value)
    bottom = _hsv(hue + rng.normal(0, 0.06), rng.uniform(0.1, 0.45), value * rng.uniform(0.62, 0.9))
    parts = [top, bottom]
    shown = int(rng.integers(2, SHAPE_SLOTS + 1))
    # At least one textured shape: a model's drift is visible in texture before it is in flat areas.
    textures = [1.0 if rng.uniform() < 0.5 else 0.5, *rng.choice([0.0, 0.5, 1.0], shown - 1)]
    for slot in range(SHAPE_SLOTS):
        if slot >= shown:
            parts.append(np.zeros(len(_SHAPE), dtype=np.float32))
            continue
        side = slot % 2
        x = rng.uniform(0.0, 0.24) + (0.76 if side else 0.0)
        y = rng.uniform(0.06, 0.34) + (0.32 if slot >= 2 else 0.0)
        other_hue = hue + rng.uniform(0.12, 0.88)
        colour = _hsv(other_hue, rng.uniform(0.15, 0.6), rng.uniform(0.35, 0.95))
        shape = [
            rng.integers(1, 4) / 3.0,
            x,
            y,
            rng.uniform(0.25, 1.0),
            rng.uniform(),
            textures[slot],
            *colour,
        ]
        parts.append(np.array(shape, dtype=np.float32))
    return parts


def draw_identity(seed: int) -> FloatArray:
    """The identity of a seed, float32 ``[len(IDENTITY_COLUMNS)]``."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 0x1DE]))
    colours = _person_colours(rng)
    person = rng.uniform(0, 1, len(_PERSON)).astype(np.float32)
    return np.concatenate([*colours, person, *_place(rng)]).astype(np.float32)
