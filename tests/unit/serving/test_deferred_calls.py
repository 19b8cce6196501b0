"""Deferred calls are made once, in their order, in the next turn of their event loop."""

import asyncio

from tidemark.serving.deferred_calls import DeferredCalls


def test_without_an_event_loop_a_call_is_made_at_once() -> None:
    calls: list[int] = []
    deferred = DeferredCalls()
    deferred.add(calls.append, 1)
    assert calls == [1]
    deferred.add(calls.append, 2)
    assert calls == [1, 2]


def test_in_an_event_loop_calls_are_made_in_its_next_turn() -> None:
    calls: list[int] = []
    deferred = DeferredCalls()

    async def scenario() -> None:
        for turn in range(3):
            deferred.add(calls.append, 2 * turn)
            deferred.add(calls.append, 2 * turn + 1)
            assert calls == list(range(2 * turn))
            await asyncio.sleep(0)
            assert calls == list(range(2 * turn + 2))

    asyncio.run(scenario())


def test_another_thread_waits_for_no_turn() -> None:
    calls: list[int] = []
    deferred = DeferredCalls()

    async def scenario() -> None:
        await asyncio.to_thread(deferred.add, calls.append, 1)
        assert calls == [1]

    asyncio.run(scenario())


def test_a_call_that_fails_stops_no_later_one() -> None:
    calls: list[int] = []
    deferred = DeferredCalls()

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        deferred.add(int, "no number")
        await asyncio.sleep(0)
        deferred.add(calls.append, 1)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert calls == [1]
