"""``python -m services.gateway``."""

from __future__ import annotations

import sys
from functools import partial

from flashtalk.serving.server import run
from flashtalk.serving.settings import load_settings
from services.gateway.app import GatewayApp
from services.gateway.settings import GatewaySettings

_YOUNG_OBJECTS = 20_000
"""Threshold of the garbage collector: about the live objects of some hundred callers."""


def main() -> int:
    """Returns 0 after a clean stop, 2 for invalid settings."""
    settings = load_settings(GatewaySettings)
    return run("gateway", settings, partial(GatewayApp, settings), _YOUNG_OBJECTS)


if __name__ == "__main__":
    sys.exit(main())
