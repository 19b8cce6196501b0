"""The wait before the monitor's jobs are taken up again while the database is unavailable."""

import asyncio
from typing import Any

import pytest

from tidemark.monitor import jobs


def test_the_wait_for_the_database_doubles_up_to_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 7:
            raise asyncio.CancelledError

    def is_pooled(_: str) -> bool:
        raise OSError("unavailable")

    monkeypatch.setattr(jobs, "is_pooled", is_pooled)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    nothing: Any = None
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(jobs._work_on_jobs(nothing, nothing, "", nothing))
    assert waits == [0.5, 1, 2, 4, 8, 10, 10]
