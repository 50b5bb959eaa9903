"""Output of a run: TensorBoard scalars and pictures, PNG files, a metrics log."""

import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from flashtalk.arrays import Rgb


class Board:
    """Writes under one run directory; steps after ``first_step`` of an older run are purged.

    A ``quiet`` board, for ranks after the first, writes nothing.
    """

    def __init__(self, run_dir: Path, first_step: int = 0, *, quiet: bool = False) -> None:
        self.run_dir = run_dir
        self.step = first_step
        self._writer: SummaryWriter | None = None
        if not quiet:
            folder = str(run_dir / "tensorboard")
            self._writer = SummaryWriter(folder, purge_step=first_step or None)

    def scalars(self, values: Mapping[str, float], prefix: str) -> None:
        """Writes one point of each scalar at the current step."""
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(f"{prefix}/{name}", value, self.step)

    def picture(self, name: str, picture_hwc: Rgb) -> None:
        """Writes a uint8 [H, W, 3] picture to TensorBoard and to ``NAME.png`` (the latest only)."""
        if self._writer is None:
            return
        self._writer.add_image(name, picture_hwc, self.step, dataformats="HWC")
        Image.fromarray(picture_hwc).save(self.run_dir / f"{name}.png")

    def record(self, values: Mapping[str, float]) -> None:
        """Appends metrics of the current step to ``metrics.jsonl``."""
        if self._writer is None:
            return
        line = json.dumps({"step": self.step, **{k: round(v, 6) for k, v in values.items()}})
        with (self.run_dir / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")

    def close(self) -> None:
        """Flushes TensorBoard."""
        if self._writer is not None:
            self._writer.close()
