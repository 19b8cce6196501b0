"""The wait before a step that failed is repeated."""

import pytest

from tidemark.monitor.step_retries import StepRetries


def test_the_wait_after_a_failed_step_doubles_up_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.monitor.step_retries.time.monotonic", lambda: 0.0)
    retries, waits = StepRetries(), []
    for _ in range(9):
        retries.failed(0)
        waits.append(retries.retry_at)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
