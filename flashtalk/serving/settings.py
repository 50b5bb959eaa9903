"""Settings of services: typed, read once from the environment, with one-line errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flashtalk import terminal
from flashtalk.errors import FlashTalkError, InputError, WeightsError
from flashtalk.serving.certificates import CertificateFiles

EXIT_SETTINGS = 2
_LONGEST_VALUE = 200


def settings_config(prefix: str) -> SettingsConfigDict:
    """Returns ``model_config`` for a subclass whose variables begin with ``prefix``."""
    return SettingsConfigDict(env_prefix=prefix, frozen=True, allow_inf_nan=False)


def _no_file(value: Any) -> Any:
    return None if value == "" else value


OptionalFile = Annotated[Path | None, BeforeValidator(_no_file)]
"""A file, or none; so is a variable that is there and empty."""


class _UserFolders(BaseSettings):
    """The user's folders (XDG base directory specification)."""

    model_config = settings_config("XDG_")

    cache_home: OptionalFile = None


def user_cache() -> Path | None:
    """Returns this project's folder in the user's cache; ``None`` without a home folder."""
    home = _UserFolders().cache_home
    # The specification says to ignore relative paths.
    if home is None or not home.is_absolute():
        try:
            home = Path.home() / ".cache"
        except RuntimeError:
            return None
    return home / "flashtalk"


class ServiceSettings(BaseSettings):
    """Settings common to all services."""

    host: str = Field(default="0.0.0.0", description="address to listen on")
    port: int = Field(default=0, ge=0, le=65_535, description="port; 0: a free port")
    port_file: Path | None = Field(
        default=None, description="file to which the port is written when the service is ready"
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="port of the metrics page; 0: none"
    )
    message_bytes: int = Field(
        default=64 * 2**20, ge=2**20, le=2**30, description="maximum size of a message in bytes"
    )
    drain_s: float = Field(
        default=10.0, gt=0, le=600, description="timeout of running calls after SIGTERM, seconds"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="lowest level that is logged: DEBUG, INFO, WARNING or ERROR"
    )
    parent_pid: int = Field(
        default=0, ge=0, description="process id; the service ends with this process; 0: none"
    )
    otlp_endpoint: str = Field(
        default="", description="OTLP collector for traces; empty: no traces"
    )
    tls_cert: OptionalFile = Field(
        default=None, description="PEM file, certificate of the port; with tls_key: TLS only"
    )
    tls_key: OptionalFile = Field(default=None, description="PEM file, private key of tls_cert")
    tls_client_ca: OptionalFile = Field(
        default=None,
        description="PEM file of authorities; clients must present a certificate of one of them",
    )

    def served_certificates(self) -> CertificateFiles:
        """Returns the certificate files of the port."""
        return CertificateFiles(
            self.tls_cert,
            self.tls_key,
            self.tls_client_ca,
            ("tls_cert", "tls_key", "tls_client_ca"),
        )


def variable_of(settings: BaseSettings, field: str) -> str:
    """Returns the environment variable of a setting; ``field`` itself if there is none."""
    if field not in type(settings).model_fields:
        return field
    return f"{settings.model_config.get('env_prefix', '')}{field}".upper()


def start_up_error(settings: BaseSettings, error: FlashTalkError) -> str:
    """Returns one line with the reason of a failed start and, if known, the invalid setting."""
    if isinstance(error, InputError):
        return one_line(f"{variable_of(settings, error.field)}: {error.value}: {error.limit}")
    if isinstance(error, WeightsError):
        return one_line(f"{variable_of(settings, 'weights')}: {error}")
    return one_line(str(error))


def one_line(text: str) -> str:
    """Returns a text as one line of limited length, for logs."""
    return terminal.one_line("; ".join(line.strip() for line in text.splitlines() if line.strip()))


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def load_settings(kind: type[SettingsT]) -> SettingsT:
    """Reads the environment; for invalid settings exits with code 2 and one line per error."""
    try:
        return kind()
    except ValidationError as error:
        prefix = str(kind.model_config.get("env_prefix", ""))
        for mistake in error.errors():
            name = prefix + "_".join(str(part) for part in mistake["loc"]).upper()
            value = f"{mistake.get('input')!r}"
            if len(value) > _LONGEST_VALUE:
                value = f"{value[:_LONGEST_VALUE]}..."
            print(f"{name}: {value}: {mistake['msg']}", file=sys.stderr)
        raise SystemExit(EXIT_SETTINGS) from None
