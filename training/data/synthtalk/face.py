"""Painters of the head: skin, ears, nose, front hair, eyes and brows."""

import torch
from torch import Tensor

from training.data.synthtalk.geometry import FACE_HALF_HEIGHT
from training.data.synthtalk.person import HeadSpace, Person
from training.data.synthtalk.shapes import cover, disc, glow, oval, paint

EYE_Y = -0.052
SIDEBURN_Y = 0.075


def paint_skin(space: HeadSpace, person: Person) -> None:
    """Ears and face with soft shading, cheeks and nose."""
    pose, px = space.pose, space.canvas.px
    half = person.face_half_width
    skin = person.colour("skin")
    window = space.window(-half - 0.05, half + 0.05, -0.31, 0.36)
    x, y = window.x_Thw, window.y_Thw
    ears = disc(x.abs() - half + 0.004, (y - 0.0) * 0.72, 0.042)
    paint(window, cover(ears, px), skin * 0.84)
    paint(window, cover(ears + 0.022, px), skin * 0.7)

    below = y.clamp(min=0.0)
    jaw = half * (1.0 - person.measure("jaw", 0.1, 0.45) * (below / FACE_HALF_HEIGHT) ** 2)
    drop = FACE_HALF_HEIGHT + 0.045 * pose.column("openness") * (y > 0.0)
    ratio = ((x / jaw) ** 2 + (y / drop) ** 2).sqrt()
    distance = (ratio - 1.0) * 0.25
    fx, fy = x - pose.turn, y - pose.tilt
    light = 1.05 - 0.2 * ratio.clamp(max=1.2) ** 3 - 0.22 * (x + 0.1) - 0.1 * y
    nose_y = person.measure("nose_length", 0.05, 0.075)
    light += 0.07 * glow(fx + 0.008, fy - nose_y + 0.045, 0.022, 0.07)
    light -= 0.17 * glow(fx, fy - nose_y - 0.02, 0.042, 0.016)
    # Eye sockets, chin and the shadow of the hair add depth to the face.
    light -= 0.07 * glow(fx.abs() - 0.1, fy - EYE_Y + 0.01, 0.075, 0.05)
    light += 0.04 * glow(fx, fy - 0.245, 0.07, 0.035)
    blush = 0.16 * glow(fx.abs() - 0.135, fy - 0.06, 0.06, 0.045).unsqueeze(1)
    tint = (skin * 0.62 + person.colour("lip") * 0.38).view(1, 3, 1, 1)
    base = torch.lerp(skin.view(1, 3, 1, 1), tint, blush * 2.0)
    paint(window, cover(distance, px), (base * light.unsqueeze(1)).clamp(0.0, 1.0))


def paint_front_hair(space: HeadSpace, person: Person) -> None:
    """The hair over the forehead, with a parting and a band of shine."""
    half = person.face_half_width + person.measure("hair_volume", 0.008, 0.03)
    window = space.window(-half - 0.02, half + 0.02, -0.37, SIDEBURN_Y + 0.02 + 4 * space.canvas.px)
    x, y = window.x_Thw, window.y_Thw
    skull = oval(x, y + 0.035, half, 0.3)
    part = person.measure("parting", -0.13, 0.13)
    line = person.measure("hairline", -0.225, -0.16)
    # The fringe stops above the brows; only the temples are covered further down.
    temple = 5.0 * (x.abs() - half + 0.075).clamp(min=0.0)
    hairline = (line + 2.6 * (x - part).abs() ** 1.9).clamp(max=-0.135) + temple
    distance = torch.maximum(torch.maximum(skull, (y - hairline) * 0.8), y - SIDEBURN_Y)
    shine = glow(x + 0.05, y + 0.26, 0.16, 0.045)
    tone = 0.94 + 0.4 * shine - 0.25 * x + 0.05 * torch.sin(70.0 * (x - part) / (1.2 + y))
    lift = (0.07 * shine).unsqueeze(1)
    colour = person.colour("hair").view(1, 3, 1, 1) * tone.unsqueeze(1) + lift
    under = torch.maximum(skull + 0.03, (y - hairline - 0.02) * 0.5)
    shadow = cover(torch.maximum(under, y - SIDEBURN_Y), 3 * space.canvas.px)
    paint(window, 0.25 * shadow, person.colour("skin") * 0.5)
    paint(window, cover(distance, space.canvas.px), colour.clamp(0.0, 1.0))


def _eye(space: HeadSpace, person: Person, sign: float) -> None:
    pose, px = space.pose, space.canvas.px
    spacing = person.measure("eye_spacing", 0.088, 0.108)
    half = person.measure("eye_size", 0.05, 0.061)
    window = space.window(
        sign * spacing - half - 0.05, sign * spacing + half + 0.05, EYE_Y - 0.1, EYE_Y + 0.09
    )
    x = window.x_Thw - pose.turn - sign * spacing
    y = window.y_Thw - pose.tilt - EYE_Y
    shut = pose.column("blink")
    bend = (1.0 - (x / half) ** 2).clamp(min=-0.6)
    upper = (-0.046 + 0.06 * shut) * bend
    lower = (0.026 - 0.01 * shut) * bend
    opening = torch.maximum(torch.maximum(upper - y, y - lower) * 0.8, x.abs() - half)
    inside = cover(opening + 0.004, px) * (1.0 - shut) ** 0.5
    white = person.colour("skin").new_tensor([0.96, 0.96, 0.97])
    paint(window, inside, white)
    ix = x - 0.012 * pose.column("gaze_x")
    iy = y + 0.004 - 0.008 * pose.column("gaze_y")
    iris = person.colour("eye")
    paint(window, inside * cover(disc(ix, iy, 0.031), px), iris * 0.75)
    paint(window, inside * cover(disc(ix, iy - 0.004, 0.024), px), iris * 1.25)
    paint(window, inside * cover(disc(ix, iy, 0.0145), px), iris * 0.12)
    paint(window, 0.9 * inside * cover(disc(ix + 0.011, iy + 0.012, 0.009), px), white)
    # The lid line follows the upper lid and stays at least a pixel thick, so that a closed eye is
    # one clean stroke at every size.
    thick = max(0.0085, 0.5 * px)
    ends = x.abs() - half * 1.04
    lid = torch.maximum((y - upper).abs() - thick, ends)
    paint(window, 0.92 * cover(lid, px), person.colour("hair") * 0.22 + 0.03)


def _brow(space: HeadSpace, person: Person, sign: float) -> None:
    pose, px = space.pose, space.canvas.px
    spacing = person.measure("eye_spacing", 0.088, 0.108) + 0.004
    window = space.window(sign * spacing - 0.12, sign * spacing + 0.12, -0.22, -0.03)
    x = window.x_Thw - pose.turn - sign * spacing
    y = window.y_Thw - pose.tilt + 0.128 + 0.03 * pose.column("brow")
    arch = -0.016 * (1.0 - (x / 0.065) ** 2) + 0.1 * x * sign
    thick = person.measure("brow_thickness", 0.0085, 0.016) * (1.0 - 4.0 * x * sign).clamp(0.6, 1.2)
    stroke = torch.maximum((y - arch).abs() - thick.clamp(min=0.5 * px), x.abs() - 0.066)
    colour: Tensor = person.colour("hair") * 0.62
    paint(window, 0.9 * cover(stroke, px), colour)


def paint_eyes(space: HeadSpace, person: Person) -> None:
    """Both eyes with lids, and the brows."""
    for sign in (-1.0, 1.0):
        _eye(space, person, sign)
        _brow(space, person, sign)
