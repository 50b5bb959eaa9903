"""Conditionings within so many bytes: the ones used last, and always the newest."""

from __future__ import annotations

import torch
from prometheus_client import REGISTRY

from flashtalk.engine import Conditioning
from flashtalk.models.dit.conditions import ContextTokens
from services.dit_worker.conditionings import ConditioningCache

UNIT = 1_024


def conditioning(digest: str, units: int = 1) -> Conditioning:
    """One of ``units`` times 1,024 bytes."""
    tokens_BND = torch.zeros(1, 1, UNIT // 16)
    y = torch.zeros(1, units * UNIT // 4 - UNIT // 8)
    return Conditioning(digest, ContextTokens(tokens_BND, tokens_BND), y)


def filled(limit: int, **units: int) -> ConditioningCache:
    cache = ConditioningCache(limit * UNIT)
    for digest, size in units.items():
        cache.put(conditioning(digest, size))
    return cache


def kept(cache: ConditioningCache, digests: str) -> str:
    """Which of them are kept; the gauges say the same."""
    value = REGISTRY.get_sample_value
    assert value("flashtalk_dit_worker_conditionings") == len(cache)
    assert value("flashtalk_dit_worker_conditioning_bytes") == cache.bytes
    return "".join(digest for digest in digests if digest in cache)


def test_the_oldest_go_when_there_is_no_room() -> None:
    cache = filled(4, a=1, b=1, c=2)
    assert kept(cache, "abc") == "abc"
    assert cache.bytes == 4 * UNIT
    cache.put(conditioning("d", 2))
    assert kept(cache, "abcd") == "cd"
    assert cache.bytes == 4 * UNIT


def test_one_that_was_asked_for_is_the_newest_and_one_that_was_looked_up_is_not() -> None:
    cache = filled(3, a=1, b=1, c=1)
    assert cache.get("a") is not None
    assert "b" in cache
    cache.put(conditioning("d"))
    assert kept(cache, "abcd") == "acd"
    assert cache.get("b") is None


def test_the_newest_is_kept_even_if_it_is_larger_than_the_limit_alone() -> None:
    cache = filled(2, a=1, b=5)
    assert kept(cache, "ab") == "b"
    assert cache.bytes == 5 * UNIT
    cache.put(conditioning("c"))
    assert kept(cache, "bc") == "c"
    assert cache.bytes == UNIT
    assert kept(filled(0, a=1, b=1), "ab") == "b"


def test_one_that_comes_again_replaces_itself() -> None:
    cache = filled(4, a=1, b=1, c=1)
    again = conditioning("a", 2)
    cache.put(again)
    assert kept(cache, "abc") == "abc"
    assert cache.bytes == 4 * UNIT
    assert cache.get("a") is again
    cache.put(conditioning("d"))
    assert kept(cache, "abcd") == "acd"
    cache.put(conditioning("a", 9))
    assert kept(cache, "acd") == "a"
    assert cache.bytes == 9 * UNIT
