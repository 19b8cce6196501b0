"""Windows that wait to be tested are bounded in number, those of each stream and those of all together."""

import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine

from tests.support.predictions import new_ids
from tests.support.wait import PATIENCE, until
from tidemark.monitor import explanations as window_tests
from tidemark.monitor.events import Purpose, WindowRequest
from tidemark.monitor.explanations import Explanations, ModelExplanation
from tidemark.monitor.prepared_reference import PreparedReference
from tidemark.monitor.rest_periods import RestPeriods

IDS = np.frombuffer(new_ids(2), np.uint8).reshape(-1, 16)


class WaitingWindows:
    """Windows that wait until all of them were requested; the test of the first one has begun."""

    def __init__(self, prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch) -> None:
        self._prepared = prepared
        self._begun, self._all_requested = threading.Event(), threading.Event()
        monkeypatch.setattr(window_tests, "read_in_order", self._read)
        monkeypatch.setattr(RestPeriods, "due", lambda _: 0.0)
        self._explanations = Explanations(create_engine("sqlite://"))
        self._count = 0

    def request(self, count: int, model_id: int = 1, slice: str = "", purpose: Purpose = "routine") -> None:
        for _ in range(count):
            request = WindowRequest(slice, purpose, IDS, first=self._count, evidence=0.0, threshold=1.0)
            self._explanations.submit(model_id, request, self._prepared)
            self._count += 1
            assert self._begun.wait(PATIENCE)

    def skipped(self) -> list[int]:
        """Let the tests go on, and return the numbers of the requests that were skipped."""
        self._all_requested.set()
        answers: list[ModelExplanation] = []

        def are_answered() -> bool:
            answers.extend(self._explanations.collect())
            return len(answers) == self._count

        until(are_answered, "an answer to each request")
        return sorted(answer.explanation.request.first for answer in answers if answer.explanation.skipped)

    def _read(self, *_: Any) -> None:
        self._begun.set()
        assert self._all_requested.wait(PATIENCE)


@pytest.fixture
def windows(prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch) -> WaitingWindows:
    return WaitingWindows(prepared, monkeypatch)


def test_ten_windows_of_a_stream_wait_and_further_ones_are_skipped(windows: WaitingWindows) -> None:
    windows.request(12)
    assert windows.skipped() == [10, 11]


def test_windows_of_other_streams_and_of_alarms_wait_next_to_those_of_a_busy_stream(windows: WaitingWindows) -> None:
    windows.request(10)
    windows.request(1, slice="camera=7")
    windows.request(1, model_id=2)
    windows.request(1, purpose="alarm")
    windows.request(1, purpose="incident")
    assert windows.skipped() == [13]


def test_two_hundred_windows_of_all_streams_wait_and_further_ones_are_skipped(windows: WaitingWindows) -> None:
    windows.request(1)  # its test runs, and it waits no longer
    for model_id in range(2, 22):
        windows.request(10, model_id)
    windows.request(1, model_id=22)
    windows.request(1, model_id=22, purpose="on_demand")
    assert windows.skipped() == [201]
