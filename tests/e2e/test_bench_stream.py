"""`flashtalk bench stream` against a suite that really runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from flashtalk.cli.main import main
from tests.e2e.processes import suite, targets


def test_every_chunk_that_counts_is_in_the_report(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "stream.json"

    async def scenario() -> int:
        async with suite(weights, tmp_path) as running:
            words = [
                "--gateway",
                targets(running),
                "--sessions",
                "2",
                "--warmup",
                "1",
                "--chunks",
                "2",
                "--patience",
                "3600",
                "--out",
                str(out),
            ]
            return await asyncio.to_thread(main, ["bench", "stream", *words])

    assert asyncio.run(scenario()) == 0
    report = json.loads(out.read_text())
    assert report["setting"] | {"gateway": ""} == {
        "gateway": "",
        "sessions": 2,
        "warmup_chunks": 1,
        "chunks": 4,
    }
    ratio = report["period_over_media"]
    assert 0 < ratio["p50"] <= ratio["p95"] <= ratio["worst"]
    # Chunks are whole: what they play is 28 frames at 25 a second.
    assert report["period"]["p50_ms"] / 1e3 == pytest.approx(1.12 * ratio["p50"])
    assert {"audio", "denoise", "decode"} <= report["stages"].keys()
    assert report["keeps_up"] is (ratio["p95"] < 1)
    assert f"{ratio['p95']:.3f}" in capsys.readouterr().out
