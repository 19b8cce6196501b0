"""Background work rests while others want the processor, and what an alarm or a stream waits for is done at once."""

import threading

import pytest

from tests.support.wait import until
from tidemark.monitor.background import URGENT, Background
from tidemark.monitor.rest_periods import RestPeriods

LATER = URGENT + 1
ENDLESS = 1e6  # seconds of a rest that only an urgent task ends


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> Background[str]:
    """Return a thread whose rests never end by themselves."""
    monkeypatch.setattr(RestPeriods, "due", lambda _: ENDLESS)
    return Background("tasks")


def collect(background: Background[str], count: int) -> list[str]:
    results: list[str] = []

    def are_done() -> bool:
        results.extend(background.collect())
        return len(results) >= count

    until(are_done, f"{count} results")
    return results


def test_a_rest_after_a_task_holds_up_the_next_one_and_no_urgent_one(background: Background[str]) -> None:
    background.submit(lambda: "first", LATER)
    assert collect(background, 1) == ["first"]

    background.submit(lambda: "second", LATER)
    for number in range(3):
        background.submit(lambda number=number: f"urgent {number}", URGENT)  # type: ignore[misc]

    assert collect(background, 3) == ["urgent 0", "urgent 1", "urgent 2"]
    assert len(background) == 1


def test_an_urgent_task_has_no_rest_after_it(background: Background[str]) -> None:
    background.submit(lambda: "urgent", URGENT)
    background.submit(lambda: "next", LATER)

    assert collect(background, 2) == ["urgent", "next"]


def test_an_urgent_task_ends_the_rest_in_the_middle_of_another_one(background: Background[str]) -> None:
    begun = threading.Event()

    def long_task() -> str:
        begun.set()
        background.rest()
        return "long"

    background.submit(long_task, LATER)
    until(begun.is_set, "the task to begin")
    background.submit(lambda: "urgent", URGENT)

    assert collect(background, 2) == ["long", "urgent"]


def test_work_in_the_thread_of_the_caller_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RestPeriods, "due", lambda _: ENDLESS)
    background: Background[str] = Background("tasks", inline=True)

    def task() -> str:
        background.rest()
        return "done"

    background.submit(task, LATER)
    background.submit(task, LATER)

    assert background.collect() == ["done", "done"]
