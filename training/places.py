"""The directories of a run; the only paths in training."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Directories of one run.

    Args:
        run_dir: checkpoints, TensorBoard, pictures, metrics of this run.
        data_dir: rendered data; ``data_dir/train``, ``val`` and ``test`` hold the splits.
        cache_dir: results computed from data and frozen models (latents, speech features).
        weights_dir: finished models by role: ``vae``, ``wav2vec2``, ``clip``, ``umt5``, ``dit``;
            together a folder for ``flashtalk.engine.load``.
        start_dir: finished models by role, the initial weights of a fresh run; ``None``: random.
    """

    run_dir: Path
    data_dir: Path
    cache_dir: Path
    weights_dir: Path
    start_dir: Path | None = None

    def model_dir(self, role: str) -> Path:
        """Returns the folder of a role's finished model."""
        return self.weights_dir / role
