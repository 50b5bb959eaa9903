"""Painter of the mouth: lips, the dark inside, teeth and tongue."""

import torch

from training.data.synthtalk.geometry import (
    APERTURE_DOWN,
    APERTURE_UP,
    LIP_DOWN,
    LIP_UP,
    MOUTH_Y,
)
from training.data.synthtalk.person import HeadSpace, Person
from training.data.synthtalk.shapes import cover, oval, paint

SMILE = 0.013


def paint_mouth(space: HeadSpace, person: Person) -> None:
    """Paints the mouth of the pose: lip curves are parabola arcs between the two corners."""
    pose, px = space.pose, space.canvas.px
    openness, rounding = pose.column("openness"), pose.column("rounding")
    half = pose.mouth_half_width
    window = space.window(-0.23, 0.23, MOUTH_Y - 0.1, MOUTH_Y + 0.19)
    x = window.x_Thw - pose.turn
    side = x / half
    # Corners are slightly above the middle: a friendly mouth at rest.
    y = window.y_Thw - pose.tilt - MOUTH_Y + SMILE * ((side * side).clamp(max=1.4) - 0.5)
    bend = (1.0 - side * side).clamp(min=-0.8)
    full = bend.clamp(min=0.0) ** 0.7 + bend.clamp(max=0.0)
    upper_in = -APERTURE_UP * openness * full
    lower_in = APERTURE_DOWN * openness * full
    bow = 1.0 - 0.28 * torch.exp(-((side / 0.16) ** 2)) * (1.0 - 0.6 * rounding)
    thicker = 1.0 + 0.35 * rounding
    upper_out = upper_in - LIP_UP * thicker * bend * bow
    lower_out = lower_in + LIP_DOWN * thicker * bend
    lip = person.colour("lip")
    # Beyond the corners the arcs cross and stay close: without an end they would draw a faint line.
    beyond = x.abs() - half
    outer = torch.maximum(torch.maximum(upper_out - y, y - lower_out) * 0.85, beyond - 0.008)
    # The upper lip is darker than the lower one, as in light from above.
    sheen = torch.exp(-(((y - lower_in - 0.5 * LIP_DOWN) / 0.014) ** 2) - (side / 0.45) ** 2)
    tone = (0.86 + 0.1 * (y > lower_in) + 0.22 * sheen).unsqueeze(1)
    paint(window, cover(outer - 0.002, px), (lip.view(1, 3, 1, 1) * tone).clamp(0.0, 1.0))

    line = max(0.0065, 0.42 * px)
    slit = torch.maximum((y - 0.5 * (upper_in + lower_in)).abs() - line, x.abs() - half * 0.93)
    hole = torch.maximum(torch.maximum(upper_in - y, y - lower_in) * 0.85, beyond)
    inside = cover(hole, px) * (openness * 8.0).clamp(max=1.0)
    paint(window, 0.85 * cover(slit, px), lip * 0.33)
    paint(window, inside, lip.new_tensor([0.16, 0.035, 0.05]))
    reach = 0.02 + 0.055 * pose.column("tongue")
    tongue = oval(x, y - lower_in.amax((-2, -1), keepdim=True) - 0.012, half * 0.72, reach + 0.012)
    paint(window, inside * cover(tongue, px), lip.new_tensor([0.78, 0.33, 0.36]))
    teeth = y - upper_in - (0.012 + 0.026 * pose.column("teeth"))
    shown = (pose.column("teeth") * 3.0).clamp(max=1.0)
    paint(window, 0.96 * inside * shown * cover(teeth, px), lip.new_tensor([0.97, 0.95, 0.92]))
