"""Options for the connection to a running suite; imports nothing large."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flashtalk.client import FlashTalkClient


def add_gateway_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of address and credentials."""
    parser.add_argument(
        "--gateway",
        default="localhost:50050",
        help="addresses of gateways, HOST:PORT, comma-separated (default localhost:50050)",
    )
    parser.add_argument(
        "--tls", action="store_true", help="use TLS and trust the public certificate authorities"
    )
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="use TLS and trust the certificate authorities in this PEM file",
    )
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="file with the API key (default: environment variable FLASHTALK_API_KEY)",
    )
    parser.add_argument(
        "--plaintext-key",
        action="store_true",
        help="allow sending the API key to another machine without TLS",
    )


def open_client(args: argparse.Namespace) -> FlashTalkClient:
    """Returns the connection of these options and ``args.patience``. Raises InputError."""
    from flashtalk.client import FlashTalkClient, read_api_key, tls_credentials

    encrypted = args.tls or args.tls_ca is not None
    return FlashTalkClient(
        args.gateway,
        patience_s=args.patience,
        credentials=tls_credentials(args.tls_ca) if encrypted else None,
        api_key=read_api_key(args.api_key_file) if args.api_key_file else args.api_key,
        plaintext_key=args.plaintext_key,
    )
