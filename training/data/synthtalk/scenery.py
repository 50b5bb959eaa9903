"""The static background: the wall and the shapes on it. Rendered once per utterance.

Legend: H W pixels.
"""

import torch
from torch import Tensor

from flashtalk.arrays import FloatArray
from training.data.synthtalk.geometry import Layout
from training.data.synthtalk.identity import IDENTITY_INDEX, SHAPE_SLOTS
from training.data.synthtalk.shapes import Canvas, Window, cover, disc, paint, round_box


def _colour(identity: FloatArray, name: str, device: torch.device) -> Tensor:
    first = IDENTITY_INDEX[f"{name}_red"]
    return torch.from_numpy(identity[first : first + 3].copy()).to(device)


def _texture(kind: float, x: Tensor, y: Tensor, period: float) -> Tensor:
    """Returns soft stripes or checks in -1..1; the period is far above a pixel at every size."""
    turn = 2.0 * torch.pi / period
    if kind < 0.25:
        return torch.zeros_like(x + y)
    if kind < 0.75:
        return torch.sin(turn * (x + 0.6 * y))
    return torch.sin(turn * x) * torch.sin(turn * y)


def _shape(canvas: Canvas, identity: FloatArray, slot: int) -> None:
    kind, x, y, size, aspect, texture = (
        float(value) for value in identity[IDENTITY_INDEX[f"shape{slot}_kind"] :][:6]
    )
    if kind < 0.1:
        return
    layout = canvas.layout
    centre_x = (2.0 * x - 1.0) * layout.half_width
    centre_y = y * layout.bottom
    half_x = (0.07 + 0.08 * size) * (0.75 + 0.5 * aspect)
    half_y = (0.07 + 0.08 * size) * (1.25 - 0.5 * aspect)
    reach = max(half_x, half_y) + 0.02
    window = canvas.window(centre_x - reach, centre_x + reach, centre_y - reach, centre_y + reach)
    dx, dy = window.x_Thw - centre_x, window.y_Thw - centre_y
    if kind < 0.5:
        distance = disc(dx, dy, 0.5 * (half_x + half_y))
    else:
        distance = round_box(dx, dy, half_x, half_y, 0.02)
    colour = _colour(identity, f"shape{slot}", window.pixels_T3hw.device)
    pattern = _texture(texture, dx, dy, 0.15 + 0.05 * size).unsqueeze(1)
    light = 1.0 + 0.12 * pattern - 0.4 * dy.unsqueeze(1)
    tinted = (colour.view(1, 3, 1, 1) * light).clamp(0.0, 1.0)
    paint(window, cover(distance, canvas.px), tinted)
    if kind > 0.8:
        border = (distance + 0.014).abs() - max(0.009, 0.55 * canvas.px)
        paint(window, cover(border, canvas.px), colour * 0.8 + 0.14)


def render_scenery(identity: FloatArray, layout: Layout, device: torch.device) -> Tensor:
    """The empty place, float32 ``[3, H, W]`` in [0, 1]."""
    image = torch.empty(1, 3, layout.height_px, layout.width_px, device=device)
    canvas = Canvas(image, layout)
    down = (canvas.y_H * layout.unit_px + layout.top_px) / layout.height_px
    down = down.view(1, 1, -1, 1)
    top = _colour(identity, "wall_top", device).view(1, 3, 1, 1)
    bottom = _colour(identity, "wall_bottom", device).view(1, 3, 1, 1)
    image.copy_((top + (bottom - top) * down).expand_as(image))
    for slot in range(SHAPE_SLOTS):
        _shape(canvas, identity, slot)
    # A soft light from the upper left, so that the wall is not flat.
    x, y = canvas.x_W.view(1, -1), canvas.y_H.view(-1, 1)
    light = torch.exp(-(((x + 0.25) / 0.7) ** 2 + ((y - 0.2) / 0.7) ** 2))
    whole = Window(image, x[None], y[None])
    whole.pixels_T3hw.mul_(0.93 + 0.1 * light)
    return image[0].clamp_(0.0, 1.0)
