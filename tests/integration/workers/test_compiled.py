"""Workers whose models are compiled: the same pictures, and nothing compiled in a session."""

from pathlib import Path

import numpy as np
import pytest

from flashtalk.engine import Pipeline, compiled
from flashtalk.serving import metrics
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.wire import image_to_proto, tensor_to_proto
from tests.integration.workers.running import CALL_S, audio_worker, dit_worker, vae_worker
from tests.integration.workers.test_workers import PORTRAIT, RAW, array, decoded, key, run, sound
from tests.tolerances import ROUNDED_SUMS


@pytest.fixture(autouse=True)
def without_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and run, but not built: building takes a minute, and is torch's."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")


def recompiles() -> float:
    return float(next(iter(metrics.WORKER_RECOMPILES.collect())).samples[0].value)


def test_a_decoder_compiles_nothing_for_chunks_that_are_cut_short(
    weights: Path, pipeline: Pipeline
) -> None:
    reference = pipeline.codec.encode_reference(PORTRAIT)
    z = reference.z_BCFHW.numpy()
    request = {
        "latents": tensor_to_proto(z),
        "color": tensor_to_proto(reference.color.to_array()),
        "video_codec": RAW,
    }

    async def scenario() -> None:
        async with vae_worker(weights, compile=True) as here, vae_worker(weights) as plain:
            for count, frames in enumerate((28, 1, 5, 13, 27)):
                mine = await decoded(here.stub, key=key(chunk=count), frames=frames, **request)
                theirs = await decoded(plain.stub, key=key(chunk=count), frames=frames, **request)
                assert len(mine[0]) == frames
                for one, other in zip(mine[0], theirs[0], strict=True):
                    pixels = [np.frombuffer(f.video, np.uint8).astype(int) for f in (one, other)]
                    assert np.abs(pixels[0] - pixels[1]).max() <= 1
                assert recompiles() == 0

    run(scenario)


def test_a_denoiser_compiles_nothing_in_a_session(weights: Path, pipeline: Pipeline) -> None:
    reference = pipeline.codec.encode_reference(PORTRAIT)
    z = reference.z_BCFHW.numpy()
    rows = pipeline.audio.chunk_rows(pipeline.audio.features(np.ones(128_000, np.float32)))

    async def scenario() -> None:
        async with dit_worker(weights, compile=True) as here, dit_worker(weights) as plain:
            latents = []
            for worker in (here, plain):
                portrait = dit_pb2.PortraitSource(
                    portrait=image_to_proto(PORTRAIT),
                    prompt="hello",
                    reference_latents=tensor_to_proto(z),
                )
                kept = await worker.stub.Condition(
                    dit_pb2.ConditionRequest(portrait=portrait), timeout=CALL_S
                )
                for chunk in range(3):
                    answer = await worker.stub.Denoise(
                        dit_pb2.DenoiseRequest(
                            key=key(chunk=chunk),
                            seed=3,
                            features=tensor_to_proto(rows.numpy()),
                            conditioning_digest=kept.conditioning.digest,
                            motion_latents=tensor_to_proto(z[:, :, : 2 if chunk else 1]),
                        ),
                        timeout=CALL_S,
                    )
                    latents.append(array(answer.latents))
                    assert recompiles() == 0
            for mine, theirs in zip(latents[:3], latents[3:], strict=True):
                scale = max(1.0, float(np.abs(theirs).max()))
                np.testing.assert_allclose(mine, theirs, atol=ROUNDED_SUMS * scale, rtol=0)

    run(scenario)


def test_an_encoder_compiles_nothing_in_a_session(weights: Path) -> None:
    async def scenario() -> None:
        async with audio_worker(weights, compile=True) as here, audio_worker(weights) as plain:
            for chunk in range(2):
                request = audio_pb2.EncodeRequest(
                    key=key(chunk=chunk), pcm=tensor_to_proto(sound(chunk))
                )
                mine, theirs = [
                    array((await worker.stub.Encode(request, timeout=CALL_S)).features)
                    for worker in (here, plain)
                ]
                scale = max(1.0, float(np.abs(theirs).max()))
                np.testing.assert_allclose(mine, theirs, atol=ROUNDED_SUMS * scale, rtol=0)
                assert recompiles() == 0

    run(scenario)
