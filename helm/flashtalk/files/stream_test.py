"""stream_test.py GATEWAY SECONDS: streams speech to a gateway and checks the frames it returns.

`helm test` runs it in the cluster. Frames must be complete and in order, carry exactly the samples
that were sent, and arrive in time for a player with a buffer of 1.5 s.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from flashtalk.client import FlashTalkClient, tls_credentials
from flashtalk.v1 import stream_pb2

_PLAYER_BUFFER_S = 1.5


def portrait() -> bytes:
    """Returns a PNG portrait that any weights accept."""
    rows, columns = np.mgrid[0:256, 0:256]
    picture_HWC = np.stack([rows, columns, 255 - rows], -1).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(picture_HWC).save(held, "PNG")
    return held.getvalue()


async def stream(gateway: str, seconds: float, options: dict[str, object]) -> list[str]:
    """Streams ``seconds`` of noise; returns one line per fault."""
    async with FlashTalkClient(gateway, patience_s=120, **options) as client:  # type: ignore[arg-type]
        asked_s = time.monotonic()
        session = await client.create_session(portrait(), wait_for_slot=True)
        spec = session.spec
        noise = np.random.default_rng(0).normal(0, 3_000, int(seconds * spec.sample_rate_hz))
        pcm_S = noise.clip(-32_768, 32_767).astype(np.int16)
        arrived_s: list[float] = []
        heard: list[bytes] = []
        faults: list[str] = []
        async with client.stream(session) as talking:
            await talking.push_audio(pcm_S)
            await talking.finish()
            async for event in talking:
                if isinstance(event, stream_pb2.Frame):
                    if event.frame_index != len(arrived_s):
                        faults.append(f"frame_index {event.frame_index}, expected {len(arrived_s)}")
                    arrived_s.append(time.monotonic())
                    heard.append(event.pcm)
    frames = -(-len(pcm_S) // spec.samples_per_frame)
    if len(arrived_s) < frames:
        faults.append(f"{len(arrived_s)} frames arrived, expected at least {frames}")
    if not arrived_s:
        return faults
    sound = np.frombuffer(b"".join(heard), "<f4")
    spoken = (pcm_S / np.float32(32_768)).astype(np.float32)
    begins = np.flatnonzero(sound == spoken[0])
    if not any(np.array_equal(sound[at : at + len(spoken)], spoken) for at in begins):
        faults.append("the audio of the frames differs from the audio that was sent")
    due_s = [arrived_s[0] + index / spec.fps for index in range(len(arrived_s))]
    late_s = max(came - due for came, due in zip(arrived_s, due_s, strict=True))
    if late_s > _PLAYER_BUFFER_S:
        faults.append(f"a frame arrived {late_s:.2f} s late; the limit is {_PLAYER_BUFFER_S} s")
    print(
        f"stream: frames={len(arrived_s)} first_frame_s={arrived_s[0] - asked_s:.2f} "
        f"latest_frame_s={late_s:.2f} reconnects={talking.reconnects}"
    )
    return faults


def main(gateway: str, seconds: str) -> int:
    """Returns 0 without faults; prints one line per fault and returns 1 otherwise."""
    faults = asyncio.run(stream(gateway, float(seconds), tls_options()))
    for line in faults:
        print(f"stream: {line}", file=sys.stderr)
    return 1 if faults else 0


def tls_options() -> dict[str, object]:
    """Returns the client options for TLS and the API key, from the pod's environment."""
    options: dict[str, object] = {"api_key": os.environ.get("FLASHTALK_API_KEY", "")}
    if authorities := os.environ.get("FLASHTALK_TEST_CA", ""):
        options["credentials"] = tls_credentials(Path(authorities))
    else:
        # Inside the cluster the operator has chosen plaintext.
        options["plaintext_key"] = True
    return options


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
