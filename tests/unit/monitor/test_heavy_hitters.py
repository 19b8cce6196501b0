"""Which values of a tag have streams: the first, then the busiest, whatever the batches."""

import json

import numpy as np
import pytest

from tidemark.monitor.heavy_hitters import CANDIDATES, OTHER, REVIEW, HeavyHitters, HittersJson


def traffic(n: int, shares: dict[str, float], seed: int = 0) -> list[str]:
    return list(np.random.default_rng(seed).choice(list(shares), n, p=list(shares.values())))


def test_values_have_streams_while_there_is_room_and_the_rest_is_pooled() -> None:
    hitters = HeavyHitters(2, [])
    assert [hitters.place(value) for value in "abcab"] == ["a", "b", OTHER, "a", "b"]
    assert hitters.place(OTHER) == OTHER
    assert hitters.tracked_values == {"a", "b"}


def test_a_busier_value_takes_the_place_of_the_least_busy() -> None:
    hitters = HeavyHitters(2, [])
    for value in ["rare", "busy", *traffic(REVIEW, {"rare": 0.05, "busy": 0.45, "late": 0.5})]:
        hitters.place(value)
    assert hitters.tracked_values == {"busy", "late"}


def test_values_that_are_about_as_busy_stay() -> None:
    hitters = HeavyHitters(2, [])
    for value in ["a", "b", *traffic(20 * REVIEW, {"a": 0.3, "b": 0.3, "c": 0.4})]:
        hitters.place(value)
    assert hitters.tracked_values == {"a", "b"}


def test_values_that_come_once_displace_nobody_and_take_no_memory() -> None:
    hitters = HeavyHitters(3, [])
    for number in range(3 * REVIEW):
        hitters.place(f"request-{number}" if number % 10 else "camera")
    assert "camera" in hitters.tracked_values
    assert hitters.tracked_values == {"camera", "request-1", "request-2"}
    assert len(hitters.state["counts"]) <= (CANDIDATES + 1) * 3


def test_a_value_that_ends_makes_room_in_time() -> None:
    hitters = HeavyHitters(1, [])
    for value in ["old"] * REVIEW + ["new"] * 4 * REVIEW:
        hitters.place(value)
    assert hitters.tracked_values == {"new"}


def test_a_smaller_limit_retires_the_least_busy() -> None:
    hitters = HeavyHitters(3, [])
    values = traffic(REVIEW - 1, {"a": 0.5, "b": 0.3, "c": 0.2})
    for value in values:
        hitters.place(value)
    smaller = HeavyHitters(1, hitters.tracked_values, hitters.state)
    smaller.place("a")
    assert smaller.tracked_values == {"a"}


@pytest.mark.parametrize("step", [1, 37, 1999])
def test_batches_and_restarts_change_nothing(step: int) -> None:
    values = [f"{v}" for v in np.random.default_rng(1).zipf(1.3, 3 * REVIEW) % 500]
    whole = HeavyHitters(5, [])
    expected = [whole.place(value) for value in values]
    tracked: set[str] = set()
    state: HittersJson | None = None
    places = []
    for first in range(0, len(values), step):
        part = HeavyHitters(5, sorted(tracked), state)
        places += [part.place(value) for value in values[first : first + step]]
        tracked, state = part.tracked_values, json.loads(json.dumps(part.state, sort_keys=True))
    assert places == expected
