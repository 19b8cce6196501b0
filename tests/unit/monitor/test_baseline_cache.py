"""The memory of prepared baselines is bounded: those that were used longest ago are forgotten, those in use are not."""

from dataclasses import replace

import pytest
from sqlalchemy import create_engine

from tidemark.drift import WindowTest
from tidemark.monitor import baseline_cache
from tidemark.monitor.baseline_cache import BaselineCache
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference
from tidemark.settings import Settings


@pytest.fixture
def cache(prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch) -> BaselineCache:
    """Return a cache that prepares nothing new: each baseline is the same one under another key."""
    window_test = WindowTest(prepared.reference, 200)
    monkeypatch.setattr(
        baseline_cache, "prepare", lambda _, key, *__: replace(prepared, key=key, make_test=lambda: window_test)
    )
    return BaselineCache(create_engine("sqlite://"), Settings(), inline=True)


def ready(cache: BaselineCache, keys: list[BaselineKey]) -> list[BaselineKey]:
    return [key for key in keys if cache.size_of({key})]


def test_baselines_beyond_the_bound_that_no_stream_uses_are_forgotten_the_oldest_first(
    cache: BaselineCache, prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [BaselineKey(number) for number in range(6)]
    for key in [*keys, keys[1]]:
        assert cache.get(key)
    cache.trim(set())
    assert ready(cache, keys) == keys  # a few megabytes, and a gigabyte is permitted

    monkeypatch.setattr(baseline_cache, "MAX_BYTES", 2 * prepared.nbytes)
    cache.trim({keys[0]})
    assert ready(cache, keys) == [keys[0], keys[1], keys[5]]


def test_eight_window_tests_are_kept_ready_those_that_were_used_last(cache: BaselineCache) -> None:
    keys = [BaselineKey(number) for number in range(10)]
    baselines = [cache.get(key) for key in keys]
    for baseline in [*baselines, baselines[0]]:
        assert baseline
        assert baseline.test
    cache.trim(set(keys))
    assert [baseline.has_test for baseline in baselines if baseline] == [True, False, False, *[True] * 7]
    assert ready(cache, keys) == keys
