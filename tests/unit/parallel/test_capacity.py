"""The model of step times against the report's Table 4, and the fleets that come of it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from flashtalk.parallel.device_times import (
    DEVICE_TIMES,
    LITE_WORK,
    PRO_WORK,
    PUBLISHED_STEPS,
    ChunkWork,
)
from flashtalk.parallel.fleet import chunk_times, fleets
from flashtalk.parallel.planned import (
    FLASHHEAD_LTX,
    FLASHHEAD_PRO,
    FLASHTALK_14B,
    PLANNED,
    PlannedPreset,
    planned_preset,
)
from flashtalk.parallel.step_time import (
    REPORT_COMPILED,
    REPORT_EAGER,
    Link,
    OneDevice,
    step_ms,
    vae_ms,
)
from flashtalk.presets import PRESETS, TINY

SIZE, LINK = (416, 720), Link()
CHUNK_MS = 1_120
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
    assert FLASHTALK_14B.fps(times.cycle_ms) == pytest.approx(32, rel=0.15)


def test_tokens_of_the_published_sizes() -> None:
    assert [FLASHTALK_14B.tokens(size) for size in ((416, 720), (448, 768))] == [10_530, 12_096]


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


def test_every_preset_but_the_small_one_is_planned() -> None:
    assert [*PLANNED] == [name for name in PRESETS if name != TINY]
    assert DEVICE_TIMES.keys() == PLANNED.keys()
    with pytest.raises(InputError, match=r"preset: tiny: one of flashtalk-14b, flashhead-1\.3b"):
        planned_preset(TINY)


def test_ranks_have_whole_heads_within_a_host() -> None:
    assert FLASHTALK_14B.dit_ranks == FLASHTALK_14B.vae_ranks == (1, 2, 4, 5, 8)
    assert FLASHHEAD_PRO.dit_ranks == FLASHHEAD_PRO.vae_ranks == (1, 2, 3, 4, 6)
    assert (FLASHHEAD_LTX.dit_ranks, FLASHHEAD_LTX.vae_ranks) == ((1, 2, 3, 4, 6), (1,))


def test_chunks_and_tokens_are_those_of_the_preset() -> None:
    found = {p.name: (p.spec.new_frames, p.chunk_ms, p.tokens(p.size_hw)) for p in PLANNED.values()}
    assert found == {
        "flashtalk-14b": (28, 1_120, 10_530),
        "flashhead-1.3b": (28, 1_120, 9_216),
        "flashhead-1.3b-lite": (24, 960, 1_280),
    }


@pytest.mark.parametrize(
    ("planned", "work", "fps"),
    [(FLASHHEAD_PRO, PRO_WORK, 10.8), (FLASHHEAD_LTX, LITE_WORK, 96.0)],
    ids=["pro", "lite"],
)
def test_a_claimed_rate_is_that_of_one_device(
    planned: PlannedPreset, work: ChunkWork, fps: float
) -> None:
    """And each stage has its share of the counted work."""
    default = DEVICE_TIMES[planned.name]
    one = default.one
    times = chunk_times(one, default.link, planned.size_hw, PUBLISHED_STEPS, 1, 1)
    assert planned.fps(times.cycle_ms) == pytest.approx(fps)
    assert one.decode_ms / one.step_ms == pytest.approx(work.decode / work.step)
    assert "claim" in default.source
    assert "not measured" in default.source


def test_three_streams_of_lite_and_none_of_pro_on_one_device() -> None:
    """The authors claim both of an RTX 4090: "3 streams", and fewer frames than play."""
    kept = {}
    for planned in (FLASHHEAD_PRO, FLASHHEAD_LTX):
        default = DEVICE_TIMES[planned.name]
        found = fleets(default.one, default.link, planned.size_hw, PUBLISHED_STEPS, 1)
        kept[planned.name] = max((f.sessions for f in found if f.devices == 1), default=0)
    assert kept == {FLASHHEAD_PRO.name: 0, FLASHHEAD_LTX.name: 3}


def test_a_vae_without_a_parallel_form_takes_one_rank() -> None:
    default = DEVICE_TIMES[FLASHHEAD_LTX.name]
    one, size_hw = default.one, FLASHHEAD_LTX.size_hw
    for plan in fleets(one, default.link, size_hw, PUBLISHED_STEPS, 20):
        assert plan.vae_ranks in (0, 1)
        assert plan.times.vae_ms == pytest.approx(one.encode_ms + one.decode_ms)
    faster = dataclasses.replace(one, planned=FLASHHEAD_PRO)
    assert vae_ms(faster, 4, size_hw, decode=True) < one.decode_ms
    assert vae_ms(one, 4, size_hw, decode=True) == one.decode_ms


@pytest.mark.parametrize("planned", PLANNED.values(), ids=list(PLANNED))
@given(rows=st.integers(4, 40), columns=st.integers(4, 40))
def test_more_ranks_are_no_slower_than_their_links(
    planned: PlannedPreset, rows: int, columns: int
) -> None:
    """Without communication every rank takes part of the work away."""
    one = DEVICE_TIMES[planned.name].one
    size_hw = rows * planned.spec.token_px, columns * planned.spec.token_px
    free = Link(gigabytes_per_s=1e9, exchange_us=0.0)
    steps = [step_ms(one, ranks, size_hw, free) for ranks in planned.dit_ranks]
    assert steps == sorted(steps, reverse=True)
