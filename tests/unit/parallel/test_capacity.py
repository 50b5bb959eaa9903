"""The model of step times against the report's Table 4, and the fleets that come of it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from flashtalk.parallel.fleet import CHUNK_MS, chunk_times, fleets
from flashtalk.parallel.step_time import (
    REPORT_COMPILED,
    REPORT_EAGER,
    Link,
    OneDevice,
    step_ms,
    tokens_of,
    vae_ms,
)

SIZE, LINK = (416, 720), Link()
# Table 4 of the report: GPUs, encode, decode, step without and with torch.compile, ms.
TABLE_4 = [
    (1, 97, 988, 1070, 800),
    (2, 69, 690, 620, 490),
    (4, 39, 350, 313, 261),
    (8, 21, 192, 193, 154),
]


@pytest.mark.parametrize("row", TABLE_4, ids=lambda row: f"{row[0]} GPUs")
def test_table_4_is_reproduced_from_its_first_row(row: tuple[int, ...]) -> None:
    ranks, encode, decode, eager, compiled = row
    assert step_ms(REPORT_EAGER, ranks, SIZE, LINK) == pytest.approx(eager, rel=0.15)
    assert step_ms(REPORT_COMPILED, ranks, SIZE, LINK) == pytest.approx(compiled, rel=0.15)
    for wanted, is_decode in ((encode, False), (decode, True)):
        found = vae_ms(REPORT_EAGER, ranks, SIZE, decode=is_decode, exact=False)
        assert found == pytest.approx(wanted, rel=0.15)


def test_the_reports_cycle() -> None:
    """Figure 6: 876 ms on eight GPUs, compiled; 32 frames per second."""
    times = chunk_times(REPORT_COMPILED, LINK, SIZE, 4, 8, 8, exact=False)
    assert times.cycle_ms == pytest.approx(876, rel=0.15)
    assert times.fps == pytest.approx(32, rel=0.15)


def test_tokens_of_the_published_sizes() -> None:
    assert [tokens_of(size) for size in ((416, 720), (448, 768))] == [10_530, 12_096]


@given(ranks=st.sampled_from([2, 3, 4, 5, 8]), scale=st.floats(1.1, 3.0))
def test_slower_links_and_larger_pictures_take_longer(ranks: int, scale: float) -> None:
    base = step_ms(REPORT_EAGER, ranks, SIZE, LINK)
    slower = dataclasses.replace(LINK, gigabytes_per_s=LINK.gigabytes_per_s / scale)
    assert step_ms(REPORT_EAGER, ranks, SIZE, slower) >= base
    assert step_ms(REPORT_EAGER, ranks, (448, 768), LINK) > base
    assert base > REPORT_EAGER.step_ms / ranks


def test_exact_slices_are_smaller_than_windows() -> None:
    for ranks in (2, 4, 8):
        exact, overlapping = (
            vae_ms(REPORT_EAGER, ranks, SIZE, decode=True, exact=exact) for exact in (True, False)
        )
        assert exact < overlapping


@given(sessions=st.integers(1, 200), faster=st.floats(1.0, 20.0))
def test_a_fleet_keeps_its_sessions_in_real_time(sessions: int, faster: float) -> None:
    one = OneDevice(800 / faster, 97 / faster, 988 / faster)
    for fleet in fleets(one, LINK, SIZE, 4, sessions):
        assert fleet.sessions >= sessions
        assert fleet.times.cycle_ms <= CHUNK_MS
        work_dit = sessions * fleet.times.dit_ms / fleet.dit_pods
        work_vae = sessions * fleet.times.vae_ms / max(1, fleet.vae_pods)
        if fleet.vae_ranks:
            assert max(work_dit, work_vae) < 1.8 * CHUNK_MS  # a pod keeps whole sessions
        assert fleet.devices >= fleet.dit_ranks


def test_separate_pods_earn_their_keep_by_interleaving() -> None:
    """Two sessions: one's pictures are decoded while the other's latents are made."""
    one = OneDevice(step_ms=300.0, encode_ms=30.0, decode_ms=300.0)
    best = fleets(one, LINK, SIZE, 4, 8)[0]
    together = [fleet for fleet in fleets(one, LINK, SIZE, 4, 8) if not fleet.vae_ranks]
    assert best.vae_ranks
    assert best.devices < min(fleet.devices for fleet in together)


def test_nothing_keeps_a_session_on_devices_that_are_too_slow() -> None:
    assert fleets(OneDevice(20_000, 97, 988), LINK, SIZE, 4, 1) == []


@pytest.mark.parametrize(
    ("sessions", "share", "name"), [(0, 0.8, "sessions"), (1, 0.0, "busy"), (1, 1.5, "busy")]
)
def test_impossible_questions_are_refused(sessions: int, share: float, name: str) -> None:
    with pytest.raises(InputError, match=name):
        fleets(REPORT_EAGER, LINK, SIZE, 4, sessions, share)
