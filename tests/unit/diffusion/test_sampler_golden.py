"""The published chunk loop, two chunks long, from recorded noise (tests/goldens/sampler).

Network, sampler, VAE, colour correction and motion hand-over together: each chunk continues the
previous one's re-encoded frames.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flashtalk.diffusion.color import ReferenceColor, match_color
from flashtalk.diffusion.condition import reference_clip, reference_condition
from flashtalk.diffusion.sample import sample, timestep
from flashtalk.diffusion.schedule import sigmas
from flashtalk.diffusion.state import DiffusionState
from flashtalk.models.dit import AudioKV, DiT, DiTConfig
from flashtalk.models.vae import VideoVAE
from flashtalk.streaming import StreamSpec
from tests.fakes.golden_models import golden_vae
from tests.tolerances import PUBLISHED, assert_frames

GOLDENS = Path(__file__).parents[2] / "goldens"
SECOND_CHUNK_TOLERANCE = 5e-4
"""The first chunk's rounding goes through decoder, encoder and network once more."""
MOTION_FRAMES, CHUNK_FRAMES = 5, 33

Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_file(GOLDENS / "sampler.safetensors")


def published_state(name: str) -> Golden:
    tensors = load_file(GOLDENS / f"{name}.safetensors")
    return {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}


@pytest.fixture(scope="module")
def dit() -> DiT:
    values = json.loads((GOLDENS / "dit_tiny.json").read_text())["config"]
    model = DiT(DiTConfig.from_dict(values)).eval().requires_grad_(False)
    model.load_state_dict(published_state("dit_tiny"), strict=True)
    return model


@pytest.fixture(scope="module")
def vae() -> VideoVAE:
    return golden_vae()


@dataclass(frozen=True)
class Chunk:
    """What one chunk of the loop made."""

    first_velocity: Tensor
    z: Tensor
    new_frames: Tensor
    motion_z: Tensor


def talk(
    dit: DiT, vae: VideoVAE, golden: Golden, case: str, *, steps: int, chunks: int, strength: float
) -> list[Chunk]:
    """The loop of the stream, with the recorded draws instead of keyed noise."""
    portrait = golden["s4.cond_image"]
    y = reference_condition(vae.encode(reference_clip(portrait[:, :, 0], CHUNK_FRAMES)))
    reference = ReferenceColor.of(portrait)
    context = dit.encode_context(golden["in.clip_fea_q8"].float() / 32, golden["in.context"][None])
    state = DiffusionState.start(0, vae.encode(portrait), StreamSpec())
    made = []
    for chunk in range(chunks):
        audio = dit.encode_audio(golden[f"in.audio{chunk}_q8"].float() / 32)
        velocities: list[Tensor] = []

        def velocity(
            x: Tensor, sigma: float, audio: AudioKV = audio, seen: list[Tensor] = velocities
        ) -> Tensor:
            v: Tensor = dit(x, timestep(x, sigma), y, context, audio)
            seen.append(v)
            return v

        draws = golden[f"{case}.chunk{chunk}.noise"].unsqueeze(1)
        z = sample(velocity, state.motion_z, state.shape, sigmas(steps), draws.__getitem__)
        video = match_color(vae.decode(z), reference, strength)
        state = state.advance(vae.encode(video[:, :, -MOTION_FRAMES:]))
        made.append(Chunk(velocities[0], z, video[:, :, MOTION_FRAMES:], state.motion_z))
    return made


def check(ours: Tensor, golden: Golden, name: str, tolerance: float) -> None:
    error = (ours[0] - golden[name]).abs().max().item()
    assert error < tolerance, f"{name}: {error}"


def test_conditioning_matches_the_published_loop(vae: VideoVAE, golden: Golden) -> None:
    portrait = golden["s4.cond_image"]
    z = vae.encode(reference_clip(portrait[:, :, 0], CHUNK_FRAMES))
    torch.testing.assert_close(reference_condition(z), golden["s4.y"], atol=PUBLISHED, rtol=0)
    motion = DiffusionState.start(0, z, StreamSpec()).motion_z[0]
    torch.testing.assert_close(motion, golden["s4.init_motion_latent"], atol=PUBLISHED, rtol=0)


def test_four_steps_two_chunks_with_colour_correction(
    dit: DiT, vae: VideoVAE, golden: Golden
) -> None:
    made = talk(dit, vae, golden, "s4", steps=4, chunks=2, strength=1.0)
    for index, (chunk, tolerance) in enumerate(
        zip(made, (PUBLISHED, SECOND_CHUNK_TOLERANCE), strict=True)
    ):
        name = f"s4.chunk{index}"
        check(chunk.first_velocity, golden, f"{name}.model_out_step0", PUBLISHED)
        check(chunk.z, golden, f"{name}.latent", PUBLISHED)
        check(chunk.new_frames, golden, f"{name}.frames", tolerance)
        check(chunk.motion_z, golden, f"{name}.motion_latent_after", PUBLISHED)
        ours_u8 = ((chunk.new_frames[0] + 1) / 2 * 255).clamp(0, 255).to(torch.uint8)
        assert_frames(ours_u8.permute(1, 2, 3, 0).numpy(), golden[f"{name}.frames_u8"].numpy())


def test_two_steps_without_colour_correction(dit: DiT, vae: VideoVAE, golden: Golden) -> None:
    (chunk,) = talk(dit, vae, golden, "s2", steps=2, chunks=1, strength=0.0)
    check(chunk.z, golden, "s2.chunk0.latent", PUBLISHED)
    check(chunk.motion_z, golden, "s2.chunk0.motion_latent_after", PUBLISHED)
