"""Certificate files: what is refused, in whose words, and what a change of them does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flashtalk.errors import InputError
from flashtalk.serving.certificates import CertificateFiles, CertificateWatch, server_credentials
from flashtalk.serving.settings import ServiceSettings
from tests.fakes.certificates import Authority, Pair

NAMES = ("tls_cert", "tls_key", "tls_client_ca")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> CertificateFiles:
    """Of a server with mTLS, in a folder of the test's own."""
    pair = authority.issue("server", "DNS:server")
    kept = Pair(tmp_path / "server.crt", tmp_path / "server.key")
    kept.replace(pair)
    return CertificateFiles(kept.cert, kept.key, authority.ca, NAMES)


def refused(files: CertificateFiles) -> InputError:
    with pytest.raises(InputError) as caught:
        server_credentials(files)
    return caught.value


def test_no_files_are_no_tls() -> None:
    assert server_credentials(CertificateFiles(None, None, None, NAMES)) is None


def test_files_that_are_missing_or_none_are_named(files: CertificateFiles, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate")
    torn = tmp_path / "torn"
    torn.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    for path in (tmp_path / "none", tmp_path, text, torn):
        for field, name in (("certificate", 0), ("key", 1), ("authorities", 2)):
            changes: dict[str, Any] = {field: path}
            error = refused(replace(files, **changes))
            assert error.field == NAMES[name]
            assert error.value == path


def test_one_of_two_is_not_enough(files: CertificateFiles) -> None:
    assert refused(replace(files, key=None)).field == "tls_key"
    assert refused(replace(files, certificate=None)).field == "tls_cert"
    assert refused(replace(files, certificate=None, key=None)).field == "tls_cert"


def test_a_key_of_another_certificate_is_refused(
    files: CertificateFiles, authority: Authority
) -> None:
    other = authority.issue("other", "DNS:other")
    error = refused(replace(files, key=other.key))
    assert error.field == "tls_key"
    assert "must be the private key of the certificate" in error.limit


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(
    files: CertificateFiles, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    assert refused(replace(files, key=locked)).field == "tls_key"


def test_a_variable_that_is_empty_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServiceSettings(tls_cert="").tls_cert is None  # type: ignore[arg-type]


def test_nothing_that_is_printed_holds_the_key(files: CertificateFiles) -> None:
    found = files.read()
    assert found.key is not None
    body = found.key.decode().splitlines()[1]
    assert body not in repr(found)
    assert body not in str(found)


def test_a_change_is_seen_once_and_a_bad_one_changes_nothing(
    files: CertificateFiles, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    watch, first = CertificateWatch(files), files.read()
    assert watch.newer() is None
    other = authority.issue("other", "DNS:other")
    assert files.key is not None
    assert files.certificate is not None
    old_key = files.key.read_bytes()
    files.key.write_bytes(other.key.read_bytes())  # half of a change
    for _ in range(3):
        assert watch.newer() is None
        assert watch.current == first
    told = [line for line in caplog.records if line.levelname == "ERROR"]
    assert len(told) == 1
    assert "tls_key" in str(vars(told[0]))
    Pair(files.certificate, files.key).replace(other)
    newer = watch.newer()
    assert newer is not None
    assert newer.certificate == other.cert.read_bytes()
    assert watch.current == newer
    assert watch.newer() is None
    files.key.unlink()
    assert watch.newer() is None
    assert watch.current == newer
    assert old_key not in str(caplog.records).encode()
