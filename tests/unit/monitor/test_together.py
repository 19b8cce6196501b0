import asyncio

import pytest

from tests.support.wait import PATIENCE
from tidemark.monitor import jobs


async def forever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("forever")


async def hard_of_hearing(ended: list[str]) -> None:
    """Miss the first cancellation, as `wait_for` may."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        ended.append("missed")
    await forever(ended)


async def broken() -> None:
    await asyncio.sleep(0)
    raise OSError("broken")


def test_when_one_fails_the_others_end_even_if_they_miss_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "REPEAT_CANCEL", 0.05)
    ended: list[str] = []

    async def scenario() -> None:
        with pytest.raises(OSError, match="broken"):
            await asyncio.wait_for(jobs._run_until_one_ends(forever(ended), hard_of_hearing(ended), broken()), PATIENCE)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
    assert sorted(ended) == ["forever", "forever", "missed"]


def test_a_stop_ends_all() -> None:
    ended: list[str] = []

    async def scenario() -> None:
        together = asyncio.create_task(jobs._run_until_one_ends(forever(ended), forever(ended)))
        await asyncio.sleep(0.01)
        together.cancel()
        with pytest.raises(asyncio.CancelledError):
            await together
        assert ended == ["forever", "forever"]

    asyncio.run(scenario())
