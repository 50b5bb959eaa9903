"""Anti-aliased painting with signed distances.

Legend: T frames, 3 colour, H W pixels of the canvas, h w pixels of a window of it. A signed
distance is negative inside; distances and lengths are in frame units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.synthtalk.geometry import Layout


@dataclass(frozen=True)
class Window:
    """A rectangle of the canvas: a view of its pixels and their coordinates ``[.., h, w]``."""

    pixels_T3hw: Tensor
    x_Thw: Tensor
    y_Thw: Tensor


class Canvas:
    """A block of frames being painted, float32 ``[T, 3, H, W]`` in [0, 1]."""

    def __init__(self, image_T3HW: Tensor, layout: Layout) -> None:
        self.image_T3HW = image_T3HW
        self.layout = layout
        device = image_T3HW.device
        unit = layout.unit_px
        columns = torch.arange(layout.width_px, device=device, dtype=torch.float32)
        rows = torch.arange(layout.height_px, device=device, dtype=torch.float32)
        self.x_W = (columns + 0.5 - 0.5 * layout.width_px) / unit
        self.y_H = (rows + 0.5 - layout.top_px) / unit
        self.px = 1.0 / unit

    def slices(self, left: float, right: float, top: float, bottom: float) -> tuple[slice, slice]:
        """Rows and columns covering a box in frame coordinates, one pixel wider each side."""
        layout, unit = self.layout, self.layout.unit_px
        middle = 0.5 * layout.width_px
        first_row = int(top * unit + layout.top_px) - 1
        last_row = int(bottom * unit + layout.top_px) + 2
        first_col = int(left * unit + middle) - 1
        last_col = int(right * unit + middle) + 2
        clip_row = [min(max(row, 0), layout.height_px) for row in (first_row, last_row)]
        clip_col = [min(max(col, 0), layout.width_px) for col in (first_col, last_col)]
        return slice(*clip_row), slice(*clip_col)

    def window(self, left: float, right: float, top: float, bottom: float) -> Window:
        """The part of the canvas that covers a box in frame coordinates."""
        rows, cols = self.slices(left, right, top, bottom)
        x_hw = self.x_W[None, None, cols]
        y_hw = self.y_H[None, rows, None]
        return Window(self.image_T3HW[:, :, rows, cols], x_hw, y_hw)


def cover(distance: Tensor, px: float) -> Tensor:
    """Share of each pixel inside: a smoothstep about one and a half pixels wide."""
    ramp = (0.5 - distance / (1.5 * px)).clamp_(0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def paint(window: Window, alpha_Thw: Tensor, colour: Tensor) -> None:
    """Blends a colour (``[3]`` or ``[T, 3, h, w]``) into a window in place."""
    if colour.dim() == 1:
        colour = colour.view(1, 3, 1, 1)
    window.pixels_T3hw.lerp_(colour.expand_as(window.pixels_T3hw), alpha_Thw.unsqueeze(1))


def disc(x: Tensor, y: Tensor, radius: float | Tensor) -> Tensor:
    """Distance to a disc at the origin."""
    return (x * x + y * y).sqrt() - radius


def oval(x: Tensor, y: Tensor, half_x: Tensor | float, half_y: Tensor | float) -> Tensor:
    """Approximate distance to a moderately stretched ellipse (ratio up to about two)."""
    ratio = ((x / half_x) ** 2 + (y / half_y) ** 2).sqrt()
    return (ratio - 1.0) * (0.5 * (half_x + half_y))


def round_box(x: Tensor, y: Tensor, half_x: float, half_y: float, radius: float) -> Tensor:
    """Distance to a box at the origin with rounded corners."""
    dx, dy = x.abs() - (half_x - radius), y.abs() - (half_y - radius)
    outside = (dx.clamp(min=0) ** 2 + dy.clamp(min=0) ** 2).sqrt()
    return outside + torch.maximum(dx, dy).clamp(max=0) - radius


def capsule(
    x: Tensor,
    y: Tensor,
    start: tuple[Tensor, Tensor],
    end: tuple[Tensor, Tensor],
    radius: Tensor | float,
) -> Tensor:
    """Distance to a thick line segment with round ends."""
    px, py = x - start[0], y - start[1]
    bx, by = end[0] - start[0], end[1] - start[1]
    along = ((px * bx + py * by) / (bx * bx + by * by)).clamp_(0.0, 1.0)
    return ((px - along * bx) ** 2 + (py - along * by) ** 2).sqrt() - radius


def glow(x: Tensor, y: Tensor, half_x: float, half_y: float) -> Tensor:
    """A soft spot at the origin, 1 in the middle."""
    return torch.exp(-((x / half_x) ** 2 + (y / half_y) ** 2))
