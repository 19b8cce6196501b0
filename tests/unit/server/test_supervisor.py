"""How the supervisor restarts a process that ends again and again."""

import logging

import pytest

from tidemark.server import supervisor
from tidemark.server.supervisor import Child


def test_a_process_that_ends_at_once_is_restarted_after_waits_that_double_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr("tidemark.server.supervisor.time.monotonic", lambda: now)
    monkeypatch.setattr("tidemark.server.supervisor.sys.executable", "false")
    child = Child("monitor", [], {})
    with caplog.at_level(logging.ERROR):
        for _ in range(8):
            child.process.wait()
            assert child.keep_alive() == 1
            now += supervisor.MAX_BACKOFF
            child.keep_alive()
    child.process.wait()
    waits = [float(message.split()[-2]) for message in caplog.messages]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
