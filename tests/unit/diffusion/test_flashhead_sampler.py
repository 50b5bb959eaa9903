"""The published chunk loop of FlashHead (tests/goldens/flashhead) without its VAE.

Latents of every chunk follow from recorded noise, portrait latents and motion latents.
"""

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.diffusion.sample import sample, timestep
from flashtalk.diffusion.schedule import TRAIN_STEPS, sigmas
from tests.fakes.golden_models import FLASHHEAD_GOLDENS, golden_flashhead
from tests.tolerances import PUBLISHED

# Variant, case, chunk.
CHUNKS = [
    ("pro", "s4", 0),
    ("pro", "s4", 1),
    ("pro", "s2", 0),
    ("lite", "s4", 0),
    ("lite", "s4", 1),
    ("lite", "raw", 0),
]


@pytest.mark.parametrize(("variant", "case", "chunk"), CHUNKS)
def test_latents_match_the_published_loop(variant: str, case: str, chunk: int) -> None:
    golden = load_file(FLASHHEAD_GOLDENS / f"sampler_{variant}.safetensors")
    network, recorded = golden_flashhead(variant), f"{case}.chunk{chunk}"
    before = f"chunk{chunk - 1}.motion_latent_after" if chunk else "init_motion_latent"
    y, motion_z = (golden[f"{case}.{name}"].unsqueeze(0) for name in ("y", before))
    draws = golden[f"{recorded}.noise"].unsqueeze(1)
    levels = sigmas(len(draws) - 1)
    times = torch.tensor([TRAIN_STEPS * level for level in levels])
    assert torch.equal(times, golden[f"{case}.timesteps"])
    velocities: list[Tensor] = []

    with torch.inference_mode():
        audio = network.encode_audio(golden[f"in.audio{chunk}_q8"].float() / 32)

        def velocity(x: Tensor, sigma: float) -> Tensor:
            v: Tensor = network(x, timestep(x, sigma), y, audio)
            velocities.append(v)
            return v

        z = sample(velocity, motion_z, tuple(draws.shape[1:]), levels, draws.__getitem__)
    first = golden[f"{recorded}.model_out_step0"]
    torch.testing.assert_close(velocities[0][0], first, atol=PUBLISHED, rtol=0)
    torch.testing.assert_close(z[0], golden[f"{recorded}.latent"], atol=PUBLISHED, rtol=0)
