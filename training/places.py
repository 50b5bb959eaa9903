"""Where a run reads and writes; the only paths training knows."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Directories of one run.

    Args:
        run_dir: checkpoints, TensorBoard, pictures, metrics of this run.
        data_dir: rendered data; ``data_dir/train``, ``val`` and ``test`` hold the splits.
        cache_dir: things computed from data and frozen models (latents, speech features).
        weights_dir: finished models by role: ``vae``, ``wav2vec2``, ``clip``, ``umt5``, ``dit``;
            together a folder that ``flashtalk.engine.load`` reads.
        start_dir: finished models by role that a fresh run begins with; ``None`` is random numbers.
    """

    run_dir: Path
    data_dir: Path
    cache_dir: Path
    weights_dir: Path
    start_dir: Path | None = None

    def model_dir(self, role: str) -> Path:
        """Where the finished model of a role is read from and written to."""
        return self.weights_dir / role
