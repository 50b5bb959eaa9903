"""Hundreds of bad settings for each service: a code, a line that names the setting, no traceback.

Each case is drawn from a seed of its own; ``FLASHTALK_TEST_SEED`` moves them all. Services are
started for real, up to the point where the models would be loaded or calls would be served.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests import seeds
from tests.fakes.bad_inputs import NAMES, NUMBERS, SIZES, TEXTS
from tests.patience import patient

CASES = 300
Draw = random.Random
HOSTS = (
    "", ":", "http://a:1", "a", "a:0", "a:99999", "a:x", "[::1", "a b:1", ",", "\udcff:1", "[]:1",
    "dns:///", "dns:///x:y", "unix:", "a:1,,b:2", "a:1\nb:2", "x" * 300 + ":1", "::1",
    "127.0.0.1:-1",
)  # fmt: skip
STORES = (
    "", "memory", "memory:", "memory://x", "http://x", "redis://:pw@[::1", "x" * 5_000,
    "redis://u:geheim@127.0.0.1:x/0", "redis://127.0.0.1:99999/0", "\udcff",
    "rediss://127.0.0.1:1?ssl_cert_reqs=what",
)  # fmt: skip
# Runs a service's main() once for each environment that it is given, in one process. One that is
# well up to there ends with the exit code of bad settings, too, but says so.
TRIES = """
import contextlib, functools, importlib, io, json, os, sys
from flashtalk.errors import InputError
kept, role = dict(os.environ), sys.argv[1]
module = importlib.import_module(f"services.{role}.__main__")

def reached(*_):
    raise InputError("service", "none", "started")

if role == "gateway":
    start = module.GatewayApp.start
    async def start_and_end(self):
        await start(self)
        reached()
    module.GatewayApp.start = start_and_end
else:
    from services import compute_worker
    compute_worker.weights_digest = reached
for line in sys.stdin:
    os.environ.clear()
    os.environ.update(kept | json.loads(line))
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            code = module.main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, said.getvalue()]), flush=True)
"""


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
        numbers += ["MAX_BUFFERED_S", "MAX_PACKET_BYTES", "SEND_AHEAD_S", "MAX_LIFETIME_S",
                    "CALL_TIMEOUT_S", "CHUNK_TIMEOUT_S", "HEARTBEAT_S"]  # fmt: skip
    else:
        fields |= {"WEIGHTS": NAMES, "PRESET": ("huge", "", "\udcff", "tiny\n"), "SIZES": SIZES,
                   "DEVICE": ("toaster", "", "cuda:99", "cpu:x", "mps", "meta", *TEXTS),
                   "DTYPE": ("int3", "", "f" * 5_000)}  # fmt: skip
        numbers += ["THREADS", "MAX_PENDING", "SESSION_SLOTS"]
    return fields | dict.fromkeys(numbers, (*NUMBERS, "70000", "-5", "1e-9"))


def settings(draw: Draw, role: str) -> dict[str, str]:
    """One to three settings with values of their kinds, the rest as in a test."""
    values = kinds(role)
    names = draw.sample(sorted(values), draw.choice((1, 1, 1, 2, 3)))
    given = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0", "STORE": "memory://"}
    # No environment holds zero bytes, and none what no byte stands for.
    drawn = {name: draw.choice(values[name]).replace("\0", "\1") for name in names}
    return given | {name: value.replace("\ud800", "\udcfe") for name, value in drawn.items()}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("role", ["gateway", "audio_encoder", "dit_worker", "vae_decoder"])
def test_bad_settings_end_a_service_with_a_line(role: str, repo_root: Path, tmp_path: Path) -> None:
    prefix = f"FLASHTALK_{role.upper()}_"
    cases = [settings(Draw(f"{role} {n} {seeds.offset()}"), role) for n in range(CASES)]
    lines = [json.dumps({prefix + name: value for name, value in case.items()}) for case in cases]
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}  # noqa: TID251
    done = subprocess.run(
        [sys.executable, "-c", TRIES, role], input="\n".join(lines) + "\n", cwd=tmp_path,
        text=True, capture_output=True, timeout=patient(150), check=False, env=environment,
    )  # fmt: skip
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
    assert list(tmp_path.iterdir()) == []
