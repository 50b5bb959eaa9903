"""Workers take the numbers of the stream from the weights that they have loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flashtalk.engine import load_pipeline, talk
from flashtalk.streaming import Position, chunks
from flashtalk.v1 import audio_encoder_service_pb2 as audio_pb2
from flashtalk.v1 import dit_worker_service_pb2 as dit_pb2
from flashtalk.v1 import media_pb2
from flashtalk.v1 import vae_decoder_service_pb2 as vae_pb2
from flashtalk.wire import image_to_proto, tensor_to_proto
from tests.integration.workers.running import CALL_S, audio_worker, dit_worker, vae_worker
from tests.integration.workers.test_workers import PORTRAIT, array, decoded, key, run
from tests.tolerances import assert_frames


@pytest.fixture
def nine(weights: Path, tmp_path: Path) -> Path:
    """The weights, with nine motion frames and 24 new ones."""
    folder = Path(shutil.copytree(weights, tmp_path / "weights"))
    path = folder / "pipeline.json"
    values = {**json.loads(path.read_text()), "stream": {"motion_frames": 9, "window_s": 4}}
    path.write_text(json.dumps(values))
    return folder


def test_two_chunks_of_24_frames_are_those_of_the_engine(nine: Path) -> None:
    pipeline = load_pipeline("tiny", nine, device="cpu")
    spec = pipeline.spec
    pcm_S = np.random.default_rng(2).normal(0, 0.1, 2 * spec.new_samples).astype(np.float32)
    expected = list(
        talk(pipeline, PORTRAIT, [pcm_S], prompt="hello", seed=5, size_hw=PORTRAIT.shape[:2])
    )

    async def scenario() -> None:
        async with audio_worker(nine) as audio, dit_worker(nine) as dit, vae_worker(nine) as vae:
            reference = await vae.stub.EncodeReference(
                vae_pb2.EncodeReferenceRequest(portrait=image_to_proto(PORTRAIT)), timeout=CALL_S
            )
            portrait = dit_pb2.PortraitSource(
                portrait=image_to_proto(PORTRAIT),
                prompt="hello",
                reference_latents=reference.reference_latents,
            )
            made = await dit.stub.Condition(
                dit_pb2.ConditionRequest(portrait=portrait), timeout=CALL_S
            )
            position = Position.start(spec, spec.window_samples)
            motion = tensor_to_proto(array(reference.reference_latents)[:, :, :1])
            for chunk, wanted in zip(chunks([pcm_S], spec), expected, strict=True):
                window_S = np.concatenate(position.window(spec, chunk.pcm_S))
                name = key(chunk=chunk.index)
                heard = await audio.stub.Encode(
                    audio_pb2.EncodeRequest(key=name, pcm=tensor_to_proto(window_S)),
                    timeout=CALL_S,
                )
                denoised = await dit.stub.Denoise(
                    dit_pb2.DenoiseRequest(
                        key=name,
                        seed=5,
                        conditioning_digest=made.conditioning.digest,
                        features=heard.features,
                        motion_latents=motion,
                    ),
                    timeout=CALL_S,
                )
                frames, result = await decoded(
                    vae.stub,
                    key=name,
                    latents=denoised.latents,
                    color=reference.color,
                    frames=spec.new_frames,
                    video_codec=media_pb2.VIDEO_CODEC_RAW_RGB24,
                )
                shown = np.stack(
                    [
                        np.frombuffer(frame.video, np.uint8).reshape(PORTRAIT.shape)
                        for frame in frames
                    ]
                )
                assert_frames(shown, wanted.frames_THWC)
                motion = result.motion_latents
                position = position.advance(spec, chunk.pcm_S, chunk.frames)
                assert array(motion).shape == (1, 16, 3, 4, 6)

    run(scenario)
