"""``python -m services.local``: settings that all workers get, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from flashtalk.errors import InputError
from services.local import main, worker_environment

LITE = "flashhead-1.3b-lite"
ROLES = ("AUDIO_ENCODER", "DIT_WORKER", "VAE_DECODER")


def test_preset_and_weights_are_settings_of_every_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    found = worker_environment({"A": "b"}, LITE, Path("weights"))
    wanted = {f"FLASHTALK_{role}_PRESET": LITE for role in ROLES}
    wanted |= {f"FLASHTALK_{role}_WEIGHTS": str(tmp_path / "weights") for role in ROLES}
    assert found == wanted | {"A": "b"}


def test_the_environment_is_left_alone_without_options() -> None:
    given = {"FLASHTALK_DIT_WORKER_PRESET": LITE}
    assert worker_environment(given, None, None) == given


def test_weights_may_come_from_the_environment() -> None:
    given = {f"FLASHTALK_{role}_WEIGHTS": "/a" for role in ROLES}
    assert worker_environment(given, LITE, None).items() >= given.items()
    del given["FLASHTALK_DIT_WORKER_WEIGHTS"]
    with pytest.raises(InputError, match=r"weights: none given: .*Model_Lite, VAE_LTX"):
        worker_environment(given, LITE, None)


def test_a_folder_that_is_not_there_is_named_with_what_it_has_to_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no: no such folder; .*Model_Lite"):
        worker_environment({}, LITE, tmp_path / "no")
    with pytest.raises(InputError, match=r"no: no such folder$"):
        worker_environment({}, None, tmp_path / "no")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "1e9"])
def test_a_start_has_a_limit(seconds: str) -> None:
    with pytest.raises(InputError, match=r"start_s"):
        main(["--start-s", seconds])


def test_a_vae_that_is_not_sliced_has_one_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = f"vae_ranks: 2: 1: the VAE of {LITE} is not sliced"
    with pytest.raises(InputError, match=says):
        main(["--preset", LITE, "--weights", str(tmp_path), "--vae-ranks", "2"])
    monkeypatch.setenv("FLASHTALK_VAE_DECODER_PRESET", LITE)
    with pytest.raises(InputError, match=says):
        main(["--vae-ranks", "2"])
