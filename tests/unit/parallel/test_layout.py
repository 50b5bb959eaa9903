"""Who holds which tokens, and what the shares cost to send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashtalk.errors import InputError
from flashtalk.parallel import Layout, check_layout, choose_layout, shard_tokens
from flashtalk.parallel.traffic import Evaluation, sent_bytes


@given(total=st.integers(1, 20_000), ranks=st.integers(1, 64))
def test_shards_are_the_sequence_in_order(total: int, ranks: int) -> None:
    shards = shard_tokens(total, ranks)
    assert [s.start for s in shards] == [0, *(s.stop for s in shards[:-1])]
    assert shards[-1].stop == total
    counts = [s.count for s in shards]
    assert max(counts) - min(counts) <= 1
    assert all(s.total == total for s in shards)


@given(ranks=st.integers(1, 64), heads=st.integers(1, 64))
def test_the_chosen_layout_is_legal_and_uses_all_ranks(ranks: int, heads: int) -> None:
    layout = choose_layout(ranks, heads)
    assert layout.ranks == ranks
    check_layout(layout, heads, tokens=ranks)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (Layout(16, 1), r"ulysses: 16: a divisor of the 40 heads \(1, 2, 4, 5, 8, 10"),
        (Layout(8, 2), "ranks: 16: at most 10, one for each token"),
    ],
)
def test_one_sentence_says_what_does_not_fit(layout: Layout, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_layout(layout, heads=40, tokens=10)


@pytest.mark.parametrize("field", ["ulysses", "ring"])
def test_degrees_are_positive(field: str) -> None:
    with pytest.raises(InputError, match=f"{field}: 0"):
        Layout(**{field: 0})


PUBLISHED = Evaluation(tokens=10_530, heads=40, head_dim=128, layers=40, context_tokens=769)


@pytest.mark.parametrize(("ranks", "gigabytes"), [(2, 4.3), (4, 3.2), (8, 1.9)])
def test_the_published_model_sends_what_is_known_of_ulysses(ranks: int, gigabytes: float) -> None:
    """Figures of the design notes (anchors, performance 4), for 720x416 in bfloat16."""
    sent = sent_bytes(Layout(ranks, 1), 0, PUBLISHED)["ulysses"]
    assert sent / 1e9 == pytest.approx(gigabytes, abs=0.06)


@pytest.mark.parametrize("layout", [Layout(8, 1), Layout(4, 2), Layout(2, 4), Layout(1, 8)])
def test_even_shards_send_the_short_form(layout: Layout) -> None:
    sizes = Evaluation(
        tokens=8_000, heads=40, head_dim=128, layers=1, context_tokens=769, element_bytes=1
    )
    width, ranks = 40 * 128, layout.ranks
    sent = sent_bytes(layout, 3, sizes)
    ulysses = 4 * 8_000 * width / ranks * (layout.ulysses - 1) / layout.ulysses
    ring = 2 * 8_000 * width / ranks * (layout.ring - 1)
    context = 2 * 769 * width * (layout.ulysses - 1) / layout.ulysses
    assert sent.get("ulysses", 0) == ulysses
    assert sent.get("ring", 0) == ring
    assert sent.get("context", 0) == context
