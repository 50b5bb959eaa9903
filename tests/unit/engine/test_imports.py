"""What a process imports that loads weights and computes: seconds of every start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Large, and of no use to a model that runs.
LARGE = {"transformers", "scipy", "sympy", "torch._dynamo", "torch._inductor", "opentelemetry.sdk"}
PROGRAM = """
import json, sys
import numpy as np
from flashtalk.engine import open_checkpoint
import services.audio_encoder.__main__, services.dit_worker.__main__
import services.vae_decoder.__main__
# In half precision what has to be computed in float32 takes its own way too.
checkpoint = open_checkpoint("tiny", device="cpu", dtype="bfloat16")
checkpoint.load_audio().encode(np.random.default_rng(0).normal(0, 0.1, 128_000).astype(np.float32))
checkpoint.load_encoders().embed(np.zeros((64, 64, 3), np.uint8), "A person talks.")
checkpoint.load_codec()
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.weights
def test_workers_import_only_what_computes(repo_root: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=repo_root, capture_output=True, check=True
    )
    assert LARGE.isdisjoint(json.loads(run.stdout))
