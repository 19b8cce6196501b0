import asyncio
import threading

import pytest

from tidemark.api import single_flight as shared_look
from tidemark.api.single_flight import SharedLook


class Database:
    """Answers with how often it was asked, fails, or hangs until it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.free = threading.Event()
        self.free.set()

    def __call__(self) -> int:
        self.asked += 1
        assert self.free.wait(10)
        if self.fails:
            raise ValueError("broken")
        return self.asked


def test_who_asks_at_a_time_shares_a_look_and_who_asks_later_gets_a_new_one() -> None:
    async def scenario() -> None:
        look = SharedLook(Database())
        assert await asyncio.gather(look(), look(), look()) == [1, 1, 1]
        assert await look() == 2

    asyncio.run(scenario())


def test_a_database_that_hangs_keeps_one_thread_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_look, "PATIENCE", 0.05)

    async def scenario(database: Database) -> None:
        look = SharedLook(database)
        database.free.clear()
        for _ in range(100):  # more than there are threads; only the first ones wait
            with pytest.raises(TimeoutError):
                await look()
        assert database.asked == 1
        database.free.set()
        assert look._looking is not None
        await look._looking
        assert await look() == 2

    asyncio.run(scenario(Database()))


def test_an_error_reaches_all_who_share_the_look_and_is_over_with_it() -> None:
    async def scenario(database: Database) -> None:
        look = SharedLook(database)
        database.fails = True
        answers = await asyncio.gather(look(), look(), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["broken", "broken"]
        database.fails = False
        assert await look() == 2

    asyncio.run(scenario(Database()))
