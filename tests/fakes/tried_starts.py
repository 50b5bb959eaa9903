"""Runs a service's ``main()`` once for each role and environment it is given, in one process.

Usage: a JSON list of both, a folder to work in, and ``whole``; or ``settings``: then no models are
loaded and no calls served, and a start that is well up to there says so and ends with the code of
bad settings.
Prints exit code and standard error of each.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from typing import Any, NoReturn
from unittest import mock

from flashtalk.errors import InputError
from services import compute_worker
from services.gateway.app import GatewayApp

_start = GatewayApp.start


def reached(*_: Any) -> NoReturn:
    """Where the settings have been used."""
    raise InputError("service", "none", "started")


async def start_and_end(app: GatewayApp) -> None:
    """Instead of a gateway's start."""
    await _start(app)
    reached()


def main() -> None:
    """See above."""
    kept = dict(os.environ)  # noqa: TID251 - what a shell would hand on
    for role, given in json.loads(sys.argv[1]):
        os.environ.clear()  # noqa: TID251
        os.environ.update(kept | given)  # noqa: TID251
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            try:
                code = importlib.import_module(f"services.{role}.__main__").main()
            except SystemExit as end:
                code = end.code
        print(json.dumps([code, said.getvalue()]), flush=True)


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    with contextlib.ExitStack() as stack:
        if sys.argv[3] == "settings":
            stack.enter_context(mock.patch.object(GatewayApp, "start", start_and_end))
            stack.enter_context(mock.patch.object(compute_worker, "weights_digest", reached))
        main()
