"""Sizes to which videos are cropped: one area, many aspect ratios."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from flashtalk.errors import InputError
from flashtalk.presets import PUBLISHED
from flashtalk.streaming import preset_spec

SizeHW = tuple[int, int]

STEP_PX = preset_spec(PUBLISHED).token_px


@dataclass(frozen=True)
class BucketPlan:
    """The rules for bucket sizes.

    Args:
        area_px: pixels of every bucket, within ``tolerance``.
        tolerance: largest relative difference from the area.
        flattest: largest ratio of the long side to the short one.
        always: height and width of additional sizes, independent of the rules; the report's two.
            Empty for another area.
        fewest: buckets with fewer videos are merged into the nearest other bucket. A bucket must
            hold a global batch, or its batches repeat samples.
    """

    area_px: int = 720 * 416
    tolerance: float = 0.06
    flattest: float = 16 / 9
    always: tuple[SizeHW, ...] = ((416, 720), (720, 416))
    fewest: int = 1

    def __post_init__(self) -> None:
        if self.area_px < STEP_PX**2:
            raise InputError("area_px", self.area_px, f"at least {STEP_PX**2}")
        if not 0 < self.tolerance < 1:
            raise InputError("tolerance", self.tolerance, "between 0 and 1")
        if self.flattest < 1:
            raise InputError("flattest", self.flattest, "at least 1")
        if self.fewest < 1:
            raise InputError("fewest", self.fewest, "at least 1")
        for size in self.always:
            if min(size) < STEP_PX or size[0] % STEP_PX or size[1] % STEP_PX:
                raise InputError("always", size, f"positive multiples of {STEP_PX} pixels")

    def sizes(self) -> tuple[SizeHW, ...]:
        """Returns height and width of every bucket, from the tallest to the widest.

        Raises:
            InputError: the area allows none.
        """
        found = set(self.always)
        for width in range(STEP_PX, self.area_px // STEP_PX + 1, STEP_PX):
            height = math.floor(self.area_px / width / STEP_PX + 0.5) * STEP_PX
            if height and self._allows(height, width):
                found.add((height, width))
        if not found:
            raise InputError(
                "area_px",
                self.area_px,
                "no size in multiples of 16 pixels has an area within the tolerance",
            )
        return tuple(sorted(found, key=lambda size: (size[1] / size[0], size)))

    def _allows(self, height: int, width: int) -> bool:
        near = abs(height * width / self.area_px - 1.0) < self.tolerance
        return near and 1 / self.flattest <= width / height <= self.flattest


def nearest_bucket(size_hw: SizeHW, sizes: Sequence[SizeHW]) -> SizeHW:
    """Returns the bucket with the nearest logarithmic aspect ratio; the earlier one of two.

    Raises:
        InputError: a size that is not positive.
    """
    if min(size_hw) <= 0:
        raise InputError("size", f"{size_hw[1]}x{size_hw[0]}", "must be positive")
    return min(sizes, key=lambda size: abs(_log_ratio(size) - _log_ratio(size_hw)))


def assign_buckets(sizes_hw: Sequence[SizeHW], plan: BucketPlan) -> list[SizeHW]:
    """Returns the bucket of every video, by its size in pixels.

    Buckets with fewer than ``plan.fewest`` videos are removed one by one, the smallest first, and
    their videos go to the nearest remaining bucket.
    """
    kept = plan.sizes()
    assigned = [nearest_bucket(size, kept) for size in sizes_hw]
    while True:
        counts = Counter(assigned)
        if len(counts) < 2 or min(counts.values()) >= plan.fewest:
            return assigned
        given_up = min(counts, key=lambda size: (counts[size], size))
        kept = tuple(size for size in kept if size in counts and size != given_up)
        assigned = [
            nearest_bucket(own, kept) if bucket == given_up else bucket
            for own, bucket in zip(sizes_hw, assigned, strict=True)
        ]


def _log_ratio(size_hw: SizeHW) -> float:
    return math.log(size_hw[1] / size_hw[0])
