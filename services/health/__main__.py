"""``python -m services.health --port N`` exits with 0 if the service reports SERVING, else with 1.

For exec probes, which run every few seconds in every container: gRPC is its only slow import. It
supports TLS, which Kubernetes' own probes do not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import grpc

_METHOD = "/grpc.health.v1.Health/Check"
# A HealthCheckRequest for the whole server is empty; the response is one number in field 1. Encoded
# here by hand, since importing protobuf and its messages would double the start time.
_ANYTHING = b""
_SAID = {b"": "UNKNOWN", b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING"}
_NOT_SERVING, _BAD_INPUT = 1, 2
_LONGEST_S = 60.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Prints one line, like every other error."""
        print(f"health: {message}", file=sys.stderr)
        raise SystemExit(_BAD_INPUT)


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = _Parser(prog="python -m services.health", allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True, help="port of the service")
    parser.add_argument("--host", default="127.0.0.1", help="%(default)s")
    parser.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="PEM file of trusted authorities; enables TLS"
    )
    parser.add_argument(
        "--tls-name", default="", metavar="NAME", help="name expected in the certificate"
    )
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="PEM file of the client certificate"
    )
    parser.add_argument(
        "--tls-key", type=Path, metavar="FILE", help="PEM file of the private key of --tls-cert"
    )
    parser.add_argument("--timeout-s", type=float, default=1.0, metavar="S", help="%(default)s")
    return parser


def main() -> int:
    """Returns 0 for SERVING, 1 for anything else, 2 for invalid arguments; prints one line why."""
    parser = build_parser()
    options = parser.parse_args()
    if not 0 < options.port < 65_536:
        parser.error(f"--port: {options.port}: 1 .. 65535")
    if not 0 < options.timeout_s <= _LONGEST_S:
        parser.error(f"--timeout-s: {options.timeout_s}: above 0, at most {_LONGEST_S:g}")
    if options.tls_ca is None and (options.tls_name or options.tls_cert or options.tls_key):
        parser.error("--tls-ca: none: required with any other TLS option")
    if (options.tls_cert is None) != (options.tls_key is None):
        parser.error("--tls-cert, --tls-key: both or neither are required")
    said = _ask(parser, options)
    if said == "SERVING":
        return 0
    print(f"health: {options.host}:{options.port}: {said}", file=sys.stderr)
    return _NOT_SERVING


def _ask(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    target = f"{host}:{options.port}"
    settings = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    if options.tls_ca is None:
        channel = grpc.insecure_channel(target, options=settings)
    else:
        parts = [
            _pem(parser, name, getattr(options, name)) for name in ("tls_ca", "tls_key", "tls_cert")
        ]
        named = [("grpc.ssl_target_name_override", options.tls_name)] if options.tls_name else []
        credentials = grpc.ssl_channel_credentials(*parts)
        channel = grpc.secure_channel(target, credentials, options=[*settings, *named])
    with channel:
        try:
            check: Callable[..., bytes] = channel.unary_unary(_METHOD)
            answer = check(_ANYTHING, timeout=options.timeout_s)
        except grpc.RpcError as error:
            details = " ".join((error.details() or "").split())
            return f"{error.code().name}: {details[:300]}"
    return _SAID.get(answer, "invalid response")


def _pem(parser: argparse.ArgumentParser, name: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    option = f"--{name.replace('_', '-')}"
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        parser.error(f"{option}: {path}: cannot be read: {getattr(error, 'strerror', error)}")
    if b"-----BEGIN " not in data:
        parser.error(f"{option}: {path}: not a PEM file")
    return data


if __name__ == "__main__":
    sys.exit(main())
