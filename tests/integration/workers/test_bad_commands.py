"""A group of two that is told what does not fit: the leader refuses it, and both go on."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from flashtalk.engine import FlashTalkPipeline, open_checkpoint
from flashtalk.errors import InputError
from flashtalk.serving.lane import Cancellation
from services.dit_worker.commands import Keep, Run, Tokens
from services.dit_worker.rank import DenoiseRank, Leader
from services.dit_worker.stage import DenoiseStage
from services.pod.commands import Shutdown
from services.pod.group import follow
from tests.integration.workers.test_ranks import PORTRAIT, Recorded, Threads
from tests.patience import patient


@pytest.mark.parametrize("wrong", ["image tokens", "text tokens", "conditioning latents"])
def test_what_does_not_fit_the_network_ends_no_rank(
    weights: Path, pipeline: FlashTalkPipeline, wrong: str
) -> None:
    group = Threads()
    group.barrier = threading.Barrier(2, timeout=patient(30))
    checkpoint = open_checkpoint("tiny", weights, device="cpu")
    leading = DenoiseRank.load(checkpoint, group, 2**20)
    following = Recorded.load(checkpoint, group, 2**20)
    stage = DenoiseStage(Leader(leading, group), checkpoint.load_encoders(), checkpoint, "w" * 64)
    thread = threading.Thread(target=lambda: follow(group, following.carry_out), daemon=True)
    thread.start()
    try:
        z = pipeline.codec.encode_reference(PORTRAIT).z_BCFHW.numpy()
        kept = stage.embed(PORTRAIT, "hello", z)
        rows = pipeline.audio.chunk_rows(pipeline.audio.features(np.ones(128_000, np.float32)))
        good = Run(kept.digest, 5, 0, rows.numpy(), z[:, :, :1])
        before, _ = stage.run(good, Cancellation())
        assert kept.tokens is not None
        image, text = kept.tokens.image, kept.tokens.text
        image = image[..., 1:] if wrong == "image tokens" else image
        text = text[..., 1:] if wrong == "text tokens" else text
        turned_z = z[:, :, :1].swapaxes(3, 4)  # of a video that lies on its other side
        turned = Run(kept.digest, 5, 0, rows.numpy(), turned_z)

        def ill_fitting() -> None:
            if wrong == "conditioning latents":
                stage.run(turned, Cancellation())
            else:
                stage.keep(Keep("f" * 64, Tokens(image, text), z))

        with pytest.raises(InputError, match=wrong):
            ill_fitting()
        again, _ = stage.run(good, Cancellation())
        np.testing.assert_array_equal(again, before)
        assert thread.is_alive(), "nobody follows any more"
    finally:
        group.send(Shutdown())
        thread.join(patient(60))
    assert not thread.is_alive()
    assert "f" * 64 not in following.conditionings
    assert len(following.latents) == 2
