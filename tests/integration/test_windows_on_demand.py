"""Window tests that people request: one at a time, from the request to the report."""

import pytest
from sqlalchemy import Engine, text

from tests.support.drifting import Drifting
from tests.support.monitoring import Installation
from tidemark.store import windows_on_demand


def request(installation: Installation) -> bool:
    with installation.engine.begin() as connection:
        return windows_on_demand.request(connection, installation.stream_id) is not None


def test_a_requested_window_holds_the_newest_predictions_and_frees_the_place_for_the_next_request(
    engine: Engine, url: str
) -> None:
    installation = Installation(engine, url, window_interval=600)
    monitor = installation.monitor()
    installation.send(150, monitor)
    assert installation.windows() == []
    assert request(installation)
    assert not request(installation)
    monitor.settle()
    assert [(row.first, row.size) for row in installation.windows()] == [(0, 150)]
    assert request(installation)
    installation.send(30, monitor)
    assert sorted((row.first, row.size) for row in installation.windows()) == [(0, 150), (0, 180)]


def test_a_request_reaches_a_monitor_that_starts_later_and_one_whose_model_rests(engine: Engine, url: str) -> None:
    installation = Installation(engine, url)
    installation.send(150)
    assert request(installation)
    installation.watch()
    assert [row.size for row in installation.windows()] == [150]


def test_a_request_that_no_monitor_answers_is_given_up(
    engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation(engine, url)
    assert request(installation)
    monkeypatch.setattr(windows_on_demand, "EXPIRES", 0.0)
    assert request(installation)


def test_what_cannot_be_tested_is_refused(drifting: Drifting) -> None:
    def post(stream: str) -> int:
        return int(drifting.client.post("/drift/windows", params={"stream": stream}).status_code)

    assert post("none:1") == 404
    assert post("pets:3") == 409
    with drifting.engine.begin() as connection:
        connection.execute(text("UPDATE streams SET seen = 100"))
    assert post("pets:3") == 202
    assert post("pets:3") == 429
    assert drifting.client.post("/drift/windows").status_code == 422
