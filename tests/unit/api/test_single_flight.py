import asyncio
import threading

import pytest

from tests.support.wait import PATIENCE, until
from tidemark.api import single_flight
from tidemark.api.single_flight import SingleFlight


class Database:
    """Answers with how often it was asked, fails, or hangs until it is let go."""

    def __init__(self) -> None:
        self.queries = 0
        self.fails = False
        self.free = threading.Event()
        self.free.set()

    def __call__(self) -> int:
        self.queries += 1
        assert self.free.wait(PATIENCE)
        if self.fails:
            raise ValueError("broken")
        return self.queries


def test_who_asks_at_a_time_shares_a_query_and_who_asks_later_gets_a_new_one() -> None:
    async def scenario() -> None:
        query = SingleFlight(Database())
        assert list(await asyncio.gather(query(), query(), query())) == [1, 1, 1]
        assert await query() == 2

    asyncio.run(scenario())


def test_a_database_that_hangs_keeps_one_thread_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(database: Database) -> None:
        query = SingleFlight(database)
        database.free.clear()
        with monkeypatch.context() as patched:
            patched.setattr(single_flight, "QUERY_TIMEOUT", 0.05)
            for _ in range(100):  # more than there are threads; only the first ones wait
                with pytest.raises(TimeoutError):
                    await query()
        await asyncio.to_thread(until, lambda: database.queries, "the query")
        assert database.queries == 1
        database.free.set()
        assert query._running is not None
        await query._running
        assert await query() == 2

    asyncio.run(scenario(Database()))


def test_an_error_reaches_all_who_share_the_query_and_is_over_with_it() -> None:
    async def scenario(database: Database) -> None:
        query = SingleFlight(database)
        database.fails = True
        answers = await asyncio.gather(query(), query(), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["broken", "broken"]
        database.fails = False
        assert await query() == 2

    asyncio.run(scenario(Database()))
