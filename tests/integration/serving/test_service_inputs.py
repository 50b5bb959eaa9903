"""Hundreds of bad settings for each service: a code, a line that names the setting, no traceback.

Each case is drawn from a seed of its own; ``FLASHTALK_TEST_SEED`` moves them all. Services are
started for real, up to the point where the models would be loaded or calls would be served.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from tests import seeds
from tests.fakes.bad_inputs import NAMES, NUMBERS, SIZES, TEXTS
from tests.fakes.fork_server import completed
from tests.patience import patient

CASES = 300
HOSTS = (
    "",
    ":",
    "http://a:1",
    "a",
    "a:0",
    "a:99999",
    "a:x",
    "[::1",
    "a b:1",
    ",",
    "\udcff:1",
    "[]:1",
    "dns:///",
    "dns:///x:y",
    "unix:",
    "a:1,,b:2",
    "a:1\nb:2",
    "x" * 300 + ":1",
    "::1",
    "127.0.0.1:-1",
)
STORES = (
    "",
    "memory",
    "memory:",
    "memory://x",
    "http://x",
    "redis://:pw@[::1",
    "x" * 5_000,
    "redis://u:geheim@127.0.0.1:x/0",
    "redis://127.0.0.1:99999/0",
    "\udcff",
    "rediss://127.0.0.1:1?ssl_cert_reqs=what",
)


def kinds(role: str) -> dict[str, tuple[str, ...]]:
    """Values of each setting, most of them bad."""
    fields = {
        "HOST": (*HOSTS, "127.0.0.1", "203.0.113.7", "::1"),
        "PORT_FILE": (*NAMES, ""),
        "LOG_LEVEL": ("loud", "", "info", *TEXTS),
        "OTLP_ENDPOINT": (*HOSTS, *TEXTS),
    }
    numbers = ["PORT", "METRICS_PORT", "MESSAGE_BYTES", "DRAIN_S", "PARENT_PID"]
    if role == "gateway":
        fields |= dict.fromkeys(("AUDIO_ENCODERS", "DIT_WORKERS", "VAE_DECODERS"), HOSTS)
        fields |= {"STORE": STORES, "OWNER": (*TEXTS, "\n", "a b", "")}
        numbers += [
            "MAX_BUFFERED_S",
            "MAX_PACKET_BYTES",
            "SEND_AHEAD_S",
            "MAX_LIFETIME_S",
            "CALL_TIMEOUT_S",
            "CHUNK_TIMEOUT_S",
            "HEARTBEAT_S",
        ]
    else:
        fields |= {
            "WEIGHTS": NAMES,
            "PRESET": ("huge", "", "\udcff", "tiny\n"),
            "SIZES": SIZES,
            "DEVICE": ("toaster", "", "cuda:99", "cpu:x", "mps", "meta", *TEXTS),
            "DTYPE": ("int3", "", "f" * 5_000),
        }
        numbers += ["THREADS", "MAX_PENDING", "SESSION_SLOTS"]
    return fields | dict.fromkeys(numbers, (*NUMBERS, "70000", "-5", "1e-9"))


def settings(draw: random.Random, role: str) -> dict[str, str]:
    """One to three settings with values of their kinds, the rest as in a test."""
    values = kinds(role)
    names = draw.sample(sorted(values), draw.choice((1, 1, 1, 2, 3)))
    given = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0", "STORE": "memory://"}
    # No environment holds zero bytes, and none what no byte stands for.
    drawn = {name: draw.choice(values[name]).replace("\0", "\1") for name in names}
    return given | {name: value.replace("\ud800", "\udcfe") for name, value in drawn.items()}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("role", ["gateway", "audio_encoder", "dit_worker", "vae_decoder"])
def test_bad_settings_end_a_service_with_a_line(role: str, tmp_path: Path) -> None:
    prefix = f"FLASHTALK_{role.upper()}_"
    cases = [settings(random.Random(f"{role} {n} {seeds.offset()}"), role) for n in range(CASES)]
    given = [(role, {prefix + name: value for name, value in case.items()}) for case in cases]
    (tmp_path / "empty").mkdir()
    words = [json.dumps(given), str(tmp_path / "empty"), "settings"]
    done = completed("tests.fakes.tried_starts", words, tmp_path, os.environ, patient(150))  # noqa: TID251
    assert done.returncode == 0, done.stderr[-3_000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    started = 0
    for case, (code, said) in zip(cases, answers, strict=True):
        told = f"{case!r:.2000}\nexit code {code}\n{said[-2_000:]}"
        assert code == 2 or (code == 0 and "PARENT_PID" in case), told
        assert "Traceback" not in said, told
        assert "geheim" not in said, told
        assert all(len(line) < 3_000 for line in said.splitlines()), told
        started += "service: none: started" in said
        named = [name for name in (*case, "WEIGHTS") if prefix + name in said]
        assert code == 0 or named or "service: none: started" in said, told
    assert started > 5
    # The name of a port's file may be odd; only a service that is ready writes it.
    assert list((tmp_path / "empty").iterdir()) == []
