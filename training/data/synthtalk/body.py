"""Painters of the hair behind the head, the torso, the neck and the hands."""

import torch
from torch import Tensor

from training.data.synthtalk.geometry import hand_rest
from training.data.synthtalk.person import HeadSpace, Person, Pose
from training.data.synthtalk.shapes import (
    Canvas,
    capsule,
    cover,
    disc,
    glow,
    oval,
    paint,
    round_box,
)

TORSO_TOP = 0.8


def paint_back_hair(space: HeadSpace, person: Person) -> None:
    """The hair behind face and neck; long hair falls beside the neck."""
    half = person.face_half_width + person.measure("hair_volume", 0.012, 0.05)
    length = person.measure("hair_length", -0.12, 0.42)
    end = max(length, 0.05) + 0.07
    window = space.window(-half - 0.03, half + 0.03, -0.37, end + 0.03)
    x, y = window.x_Thw, window.y_Thw
    distance = oval(x, y + 0.05, half, 0.29)
    if length > 0.0:
        fall = round_box(x, y - 0.5 * (length - 0.1), half, 0.5 * (length + 0.1), 0.09)
        distance = torch.minimum(distance, fall)
    distance = torch.maximum(distance, y - end)
    shade = (0.78 - 0.35 * (y - 0.1).clamp(0.0, 0.5)).unsqueeze(1)
    paint(window, cover(distance, space.canvas.px), person.colour("hair").view(1, 3, 1, 1) * shade)


def paint_torso(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Neck, shoulders and shirt; they move slightly with the head."""
    skin, shirt = person.colour("skin"), person.colour("shirt")
    sway = 0.3 * pose.column("head_x")
    half = person.measure("shoulders", 0.39, 0.47)
    bottom = canvas.layout.bottom
    window = canvas.window(-half - 0.05, half + 0.05, TORSO_TOP - 0.03, bottom)
    x, y = window.x_Thw - sway, window.y_Thw - 0.2 * pose.column("head_y")
    rise = (x / half).abs().clamp(max=1.2) ** 2.6
    distance = (TORSO_TOP + 0.2 * rise - y) * 0.85
    light = (1.04 - 0.5 * x * x / (half * half) - 0.12 * x - 0.25 * (y - 0.85)).unsqueeze(1)
    paint(window, cover(distance, canvas.px), (shirt.view(1, 3, 1, 1) * light).clamp(0.0, 1.0))

    # Neckline: skin shown in a V below the neck, edged by a collar.
    depth = person.measure("neckline", 0.045, 0.15)
    open_ = window.y_Thw - (TORSO_TOP + depth) + (x.abs() / 0.12) ** 1.5 * depth
    collar = torch.maximum(open_ * 0.7 - 0.022, distance)
    paint(window, cover(collar, canvas.px), shirt * 0.72)
    paint(window, cover(torch.maximum(open_ * 0.7, distance), canvas.px), skin * 0.86)

    neck = canvas.window(-0.2, 0.2, 0.6, TORSO_TOP + 0.08)
    nx, ny = neck.x_Thw, neck.y_Thw
    head_x, head_y = pose.column("head_x"), pose.column("head_y")
    top = (0.8 * head_x, 0.62 + head_y)
    column = capsule(nx, ny, top, (sway, torch.full_like(sway, TORSO_TOP + 0.01)), 0.088)
    shadow = glow(nx - head_x, ny - 0.72 - head_y, 0.2, 0.075)
    tone = (0.95 - 0.27 * shadow - 0.35 * (nx - head_x).clamp(min=0.0)).unsqueeze(1)
    paint(neck, cover(column, canvas.px), skin.view(1, 3, 1, 1) * tone)


def _paint_hand(canvas: Canvas, person: Person, pose: Pose, side: str) -> None:
    sign = -1.0 if side == "l" else 1.0
    rest_x, rest_y = hand_rest(canvas.layout)
    x0 = sign * rest_x + pose.column(f"hand_{side}_x")
    y0 = rest_y + pose.column(f"hand_{side}_y")
    angle = pose.column(f"hand_{side}_angle") - sign * 0.3
    # From arrays, not tensors: reading a tensor's value would synchronise a GPU.
    xs = sign * rest_x + pose.values(f"hand_{side}_x")
    ys = rest_y + pose.values(f"hand_{side}_y")
    window = canvas.window(
        float(xs.min()) - 0.16, float(xs.max()) + 0.16, float(ys.min()) - 0.16, canvas.layout.bottom
    )
    if window.pixels_T3hw.shape[-1] == 0 or window.pixels_T3hw.shape[-2] == 0:
        return
    x, y = window.x_Thw, window.y_Thw
    skin, shirt = person.colour("skin"), person.colour("shirt")
    cos, sin = torch.cos(angle), torch.sin(angle)
    elbow = (x0 + sign * 0.04, torch.full_like(y0, canvas.layout.bottom + 0.12))
    wrist = (x0 - 0.05 * sin, y0 + 0.075 * cos)
    arm = capsule(x, y, elbow, wrist, 0.058)
    paint(window, cover(arm - 0.012, canvas.px), shirt * 0.6)
    paint(window, cover(arm, canvas.px), shirt * 0.88)
    lx, ly = cos * (x - x0) + sin * (y - y0), cos * (y - y0) - sin * (x - x0)
    hand = _hand(lx, ly, sign)
    paint(window, cover(hand - 0.011, canvas.px), skin * 0.62)
    tone = (1.0 - 1.2 * (ly + 0.02).clamp(-0.05, 0.08)).unsqueeze(1)
    paint(window, cover(hand, canvas.px), (skin.view(1, 3, 1, 1) * tone).clamp(0.0, 1.0))


def _hand(x: Tensor, y: Tensor, sign: float) -> Tensor:
    """A mitten of a palm, the fingers together and a thumb towards the body."""
    zero = x.new_zeros(1, 1, 1)
    palm = disc(x, y - 0.012, 0.05)
    fingers = capsule(x, y, (zero, zero - 0.01), (zero + 0.006 * sign, zero - 0.072), 0.036)
    thumb = capsule(x, y, (zero, zero + 0.01), (zero - 0.062 * sign, zero - 0.03), 0.018)
    return torch.minimum(torch.minimum(palm, fingers), thumb)


def paint_hands(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Both hands with a piece of sleeve, in front of everything."""
    _paint_hand(canvas, person, pose, "l")
    _paint_hand(canvas, person, pose, "r")
