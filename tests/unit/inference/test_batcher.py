"""Batches: what runs together, in which order, in the event loop or in a thread, and whom an error reaches."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from tests.support.batches import Clock, Recorder, drive, in_thread
from tests.support.wait import PATIENCE
from tidemark.inference.batcher import Batcher, TooLate


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Batches take no time, whatever else the machine does."""
    clock = Clock()
    monkeypatch.setattr("tidemark.inference.batcher.time", clock)
    monkeypatch.setattr("tidemark.inference.batcher.time_without_core", lambda: clock.without_core)
    return clock


def test_an_idle_batcher_runs_an_item_at_once() -> None:
    async def scenario(run: Recorder) -> None:
        batcher = Batcher(run)
        for item in range(3):
            assert await batcher.submit(item) == 2 * item
        await batcher.close()

    assert drive(scenario).batches == [[0], [1], [2]]


@pytest.mark.parametrize("alone", [True, False])
def test_only_a_lonely_caller_is_answered_before_others_have_their_turn(alone: bool) -> None:
    order: list[str] = []

    async def scenario(run: Recorder) -> None:
        batcher = Batcher(run)
        asyncio.get_running_loop().call_soon(order.append, "another callback")
        assert await batcher.submit(1, alone=alone) == 2
        order.append("answer")
        await batcher.close()

    assert drive(scenario).batches == [[1]]
    assert order[0] == ("answer" if alone else "another callback")


def test_a_lonely_caller_takes_those_along_who_wait() -> None:
    async def scenario(run: Recorder) -> None:
        batcher = Batcher(run)
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0)
        assert await batcher.submit(2, alone=True) == 4
        assert await first == 2
        await batcher.close()

    assert drive(scenario).batches == [[1, 2]]


def test_what_arrives_during_a_run_makes_the_next_batches() -> None:
    async def scenario(run: Recorder) -> None:
        batcher = in_thread(run, max_batch=4)
        run.free.clear()
        first = asyncio.create_task(batcher.submit(0))
        await run.until_begun()
        rest = [asyncio.create_task(batcher.submit(item)) for item in range(1, 7)]
        await asyncio.sleep(0)
        run.free.set()
        assert await first == 0
        assert await asyncio.gather(*rest) == [2 * item for item in range(1, 7)]
        await batcher.close()

    assert drive(scenario).batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_a_batch_holds_as_much_as_there_is_room_for_and_a_larger_item_is_run_alone() -> None:
    async def scenario(run: Recorder) -> None:
        batcher = in_thread(run, max_batch=4)
        run.free.clear()
        first = asyncio.create_task(batcher.submit(0))
        await run.until_begun()
        sizes = {1: 2, 2: 2, 3: 3, 4: 2, 5: 9, 6: 1}
        rest = [asyncio.create_task(batcher.submit(item, size)) for item, size in sizes.items()]
        await asyncio.sleep(0)
        run.free.set()
        assert await asyncio.gather(first, *rest) == [2 * item for item in range(7)]
        await batcher.close()

    assert drive(scenario).batches == [[0], [1, 2], [3], [4], [5], [6]]


def test_a_wait_gathers_what_comes_a_little_later() -> None:
    """The batch is run when it is full, long before the wait is over."""

    async def scenario(run: Recorder) -> None:
        batcher = Batcher(run, max_batch=2, wait_ms=1000 * PATIENCE)
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.01)
        await asyncio.gather(first, batcher.submit(2))
        await batcher.close()

    assert drive(scenario).batches == [[1, 2]]


def test_an_error_reaches_its_own_batch_only() -> None:
    async def scenario(run: Recorder) -> None:
        batcher = in_thread(run, max_batch=2)
        run.free.clear()
        first = asyncio.create_task(batcher.submit(0))
        await run.until_begun()
        rest = [asyncio.create_task(batcher.submit(item)) for item in (12, 13, 14, 15)]
        await asyncio.sleep(0)
        run.free.set()
        answers = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [isinstance(answer, ValueError) for answer in answers] == [False, True, True, False, False]
        assert await batcher.submit(5) == 10
        await batcher.close()

    drive(scenario)


def test_a_run_with_too_few_results_is_an_error_and_no_hang() -> None:
    async def scenario(_: Recorder) -> None:
        batcher: Batcher[int, int] = Batcher(lambda items: items[1:])
        with pytest.raises(ValueError, match="0 results of a batch of 1"):
            await asyncio.wait_for(batcher.submit(1), PATIENCE)
        await batcher.close()

    drive(scenario)


def test_a_result_that_is_an_error_reaches_its_own_caller_only() -> None:
    async def scenario(_: Recorder) -> None:
        batcher: Batcher[int, int] = Batcher(lambda items: [KeyError(item) if item else item for item in items])
        answers = await asyncio.gather(*(batcher.submit(item) for item in (0, 1, 0)), return_exceptions=True)
        assert [isinstance(answer, KeyError) for answer in answers] == [False, True, False]
        await batcher.close()

    drive(scenario)


def test_what_waited_too_long_is_not_run(clock: Clock) -> None:
    async def scenario(run: Recorder) -> None:
        batcher = in_thread(run, max_batch=1, queue_timeout=30)
        run.free.clear()
        first = asyncio.create_task(batcher.submit(1))
        await run.until_begun()
        late = asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0)
        clock.now += 31
        run.free.set()
        assert await first == 2
        with pytest.raises(TooLate, match=r"waited for 30 s"):
            await late
        assert await batcher.submit(3) == 6
        await batcher.close()

    assert drive(scenario).batches == [[1], [3]]


def test_the_item_of_a_caller_that_gives_up_is_not_run_and_the_others_are() -> None:
    async def scenario(run: Recorder) -> None:
        batcher = in_thread(run)
        run.free.clear()
        first = asyncio.create_task(batcher.submit(0))
        await run.until_begun()
        cancelled_task, stays = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0)
        cancelled_task.cancel()
        first.cancel()
        await asyncio.sleep(0)
        run.free.set()
        assert await stays == 4
        assert cancelled_task.cancelled()
        assert first.cancelled()
        await batcher.close()

    assert drive(scenario).batches == [[0], [2]]


def test_a_thread_whose_items_are_all_cancelled_waits_for_the_next_one() -> None:
    async def scenario(run: Recorder) -> None:
        batcher = Batcher(run, wait_ms=50)
        with batcher._changed:  # the thread cannot take the item before it is taken back
            cancelled_task = asyncio.create_task(batcher.submit(1))
            await asyncio.sleep(0)
            cancelled_task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await cancelled_task
        assert await batcher.submit(2) == 4
        await batcher.close()

    assert drive(scenario).batches == [[2]]


@pytest.mark.parametrize("make", [Batcher, in_thread])
def test_close_finishes_what_waits(make: Callable[..., Batcher[int, int]]) -> None:
    async def scenario(run: Recorder) -> None:
        batcher = make(run, max_batch=1)
        waiting = [asyncio.create_task(batcher.submit(item)) for item in range(5)]
        await asyncio.sleep(0)
        await batcher.close()
        assert await asyncio.gather(*waiting) == [2 * item for item in range(5)]

    assert drive(scenario).batches == [[0], [1], [2], [3], [4]]


def test_what_is_submitted_together_runs_together_in_the_loop_and_others_get_their_turn() -> None:
    turns: list[int] = []

    async def scenario(run: Recorder) -> None:
        batcher = Batcher(run, max_batch=4)

        async def other() -> None:
            for _ in range(4):
                turns.append(len(run.batches))
                await asyncio.sleep(0)

        sizes = {0: 1, 1: 1, 2: 3, 3: 9, 13: 1, 5: 1}
        waiting = [asyncio.create_task(batcher.submit(item, size)) for item, size in sizes.items()]
        answers = await asyncio.gather(*waiting, other(), return_exceptions=True)
        assert answers[:4] == [0, 2, 4, 6]
        assert [isinstance(answer, ValueError) for answer in answers[4:6]] == [True, True]
        assert batcher._thread is None
        await batcher.close()

    assert drive(scenario).batches == [[0, 1], [2], [3], [13, 5]]
    assert turns == [0, 1, 2, 3]


def test_batches_that_take_long_go_to_a_thread_and_come_back_when_they_are_brief(clock: Clock) -> None:
    """Four slow batches of nine do not decide; what waits already comes along in its order."""
    seconds = iter([0.0] * 5 + [0.03] * 5 + [0.0] * 12)
    names: list[str] = []

    async def scenario(run: Recorder) -> None:
        def slow(items: list[int]) -> Sequence[int]:
            names.append(threading.current_thread().name)
            clock.now += next(seconds)
            return run(items)

        batcher: Batcher[int, int] = Batcher(slow, max_batch=1)
        assert await asyncio.gather(*map(batcher.submit, range(20, 41))) == [2 * item for item in range(20, 41)]
        assert await batcher.submit(41) == 82
        await batcher.close()

    assert drive(scenario).batches == [[item] for item in range(20, 42)]
    assert names == ["MainThread"] * 10 + ["batcher"] * 9 + ["MainThread"] * 3


def test_a_slow_first_batch_is_followed_by_the_thread(clock: Clock) -> None:
    async def scenario(run: Recorder) -> None:
        def slow(items: list[int]) -> Sequence[int]:
            clock.now += 1.0
            return run(items)

        batcher: Batcher[int, int] = Batcher(slow)
        await batcher.submit(0)
        assert batcher._thread is not None
        assert await batcher.submit(1) == 2
        await batcher.close()

    assert drive(scenario).batches == [[0], [1]]


def test_batches_that_wait_long_for_a_core_stay_in_the_loop(clock: Clock) -> None:
    async def scenario(run: Recorder) -> None:
        def held_up(items: list[int]) -> Sequence[int]:
            clock.now += 0.5
            clock.without_core += 0.499
            return run(items)

        batcher: Batcher[int, int] = Batcher(held_up)
        for item in range(12):
            assert await batcher.submit(item) == 2 * item
        assert batcher._thread is None
        await batcher.close()

    assert drive(scenario).batches == [[item] for item in range(12)]
