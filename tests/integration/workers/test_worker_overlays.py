"""Workers with overlays: one digest for all roles, another than without, and other latents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from flashtalk.engine import Pipeline
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import worker_pb2
from flashtalk.wire import image_to_proto, tensor_from_proto, tensor_to_proto
from tests.fakes.overlays import write_lora
from tests.integration.workers.running import (
    CALL_S,
    Running,
    audio_worker,
    dit_worker,
    vae_worker,
)
from tests.patience import patient


async def digest_of(worker: Running) -> str:
    card = await worker.stub.GetWorker(worker_pb2.GetWorkerRequest(), timeout=CALL_S)
    return str(card.weights_digest)


async def latents_of(worker: Running, pipeline: Pipeline) -> np.ndarray:
    """Latents of the first chunk of a portrait."""
    portrait = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    z = pipeline.codec.encode_reference(portrait).z_BCFHW
    source = dit_pb2.PortraitSource(
        portrait=image_to_proto(portrait),
        prompt="A person is talking.",
        reference_latents=tensor_to_proto(z.numpy()),
    )
    made = await worker.stub.Condition(dit_pb2.ConditionRequest(portrait=source), timeout=CALL_S)
    pcm = np.random.default_rng(1).normal(0, 0.1, 128_000).astype(np.float32)
    rows = pipeline.audio.chunk_rows(pipeline.audio.features(pcm))
    request = dit_pb2.DenoiseRequest(
        key=worker_pb2.ChunkKey(session_id="s"),
        conditioning_digest=made.conditioning.digest,
        seed=1,
        features=tensor_to_proto(rows.numpy()),
        motion_latents=tensor_to_proto(np.ascontiguousarray(z[:, :, :1].numpy())),
    )
    answer = await worker.stub.Denoise(request, timeout=CALL_S)
    return tensor_from_proto(answer.latents, field="latents", shape=[None] * 5)


def test_overlays_decide_over_digest_and_latents(
    weights: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    lora = write_lora(tmp_path / "lora.safetensors", pipeline.denoiser.network.state_dict())
    given: dict[str, Any] = {"overlays": f"{lora}:0.5", "cache": None}

    async def scenario() -> None:
        digests, latents = {}, {}
        async with dit_worker(weights, cache=None) as plain:
            digests["plain"], latents["plain"] = (
                await digest_of(plain),
                await latents_of(plain, pipeline),
            )
        async with dit_worker(weights, **given) as dit:
            digests["dit"], latents["dit"] = await digest_of(dit), await latents_of(dit, pipeline)
        async with audio_worker(weights, **given) as audio:
            digests["audio"] = await digest_of(audio)
        async with vae_worker(weights, **given) as vae:
            digests["vae"] = await digest_of(vae)
        assert len({digests["dit"], digests["audio"], digests["vae"]}) == 1
        assert digests["dit"] != digests["plain"]
        assert not np.array_equal(latents["dit"], latents["plain"])

    async def bounded() -> None:
        async with asyncio.timeout(patient(200)):
            await scenario()

    asyncio.run(bounded())
