"""Large bodies that wait to be parsed are bounded in number, and small ones are parsed at once."""

import asyncio
import threading

from tests.support.wait import PATIENCE
from tidemark.api.bodies.parsing_pool import INLINE_BYTES, ParsingPool
from tidemark.errors import Overloaded

LARGE = INLINE_BYTES + 1


def test_large_bodies_beyond_those_that_may_wait_are_refused_and_a_small_one_is_not() -> None:
    async def scenario() -> None:
        pool, go = ParsingPool(), threading.Event()
        bodies = [asyncio.ensure_future(pool.run(LARGE, go.wait, PATIENCE)) for _ in range(66)]
        await asyncio.sleep(0)  # lets each of them begin
        assert await pool.run(INLINE_BYTES, str, "small") == "small"
        go.set()
        answers = await asyncio.gather(*bodies, return_exceptions=True)
        assert answers[:64] == [True] * 64
        assert [str(answer) for answer in answers[64:]] == ["64 request bodies wait to be parsed"] * 2
        assert all(isinstance(answer, Overloaded) for answer in answers[64:])
        assert await pool.run(LARGE, str, "large") == "large"
        pool.close()

    asyncio.run(scenario())
