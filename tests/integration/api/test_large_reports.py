"""Reports of many classes: an answer holds as many of them as its bound allows, and says where the rest begins."""

import datetime as dt
import random

import pytest

from tests.support.drifting import Drifting
from tidemark.store import page_bounds, streams, windows
from tidemark.store.report_json import WindowReportJson

COUNT = 12
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def large(drifting: Drifting, monkeypatch: pytest.MonkeyPatch) -> Drifting:
    """A stream with windows whose reports do not fit one answer together."""
    noise = random.Random(0)
    proportions = {str(number): noise.random() for number in range(1000)}
    report: WindowReportJson = {
        "size": 1,
        "summary": "No drift",
        "p_value": 1.0,
        "drifted": False,
        "kind": "none",
        "proportions": proportions,
    }
    with drifting.engine.begin() as connection:
        for number in range(COUNT):
            windows.save(
                connection,
                stream_id=drifting.stream_id,
                start=NOW,
                end=NOW,
                first=number,
                size=1,
                p_value=1.0,
                drifted=False,
                kind="none",
                seconds=0.0,
                report=report,
            )
    monkeypatch.setattr(page_bounds, "MAX_PAGE_BYTES", 50_000)
    return drifting


def test_pages_of_windows_are_bounded_and_lead_to_every_window(large: Drifting) -> None:
    ids: list[int] = []
    before: int | None = None
    pages = 0
    while True:
        params = {"limit": 100} | ({"before": before} if before else {})
        answer = large.client.get("/drift/windows", params=params)
        assert len(answer.content) < 250_000
        ids += [window["id"] for window in answer.json()["windows"]]
        before, pages = answer.json()["next"], pages + 1
        if before is None:
            break
    assert (len(ids), len(set(ids))) == (COUNT, COUNT)
    assert ids == sorted(ids, reverse=True)
    assert 2 <= pages < COUNT


def test_a_report_that_is_larger_than_a_page_is_a_page(large: Drifting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_bounds, "MAX_PAGE_BYTES", 1)
    answer = large.client.get("/drift/windows").json()
    assert len(answer["windows"]) == 1
    assert answer["next"] == answer["windows"][0]["id"]


def test_the_state_of_streams_leaves_out_what_grows_with_the_classes_beyond_its_bound(
    large: Drifting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(large.stream()["last_window"]["proportions"]) == 1000
    monkeypatch.setattr(page_bounds, "MAX_PAGE_BYTES", 1)
    last = large.stream()["last_window"]
    assert last["summary"] == "No drift"
    assert "proportions" not in last
    assert len(large.client.get(f"/drift/windows/{last['id']}").json()["proportions"]) == 1000


def test_pages_of_alerts_are_bounded_and_lead_to_every_alert(
    drifting: Drifting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour, kind in enumerate(("label", "both"), start=1):
        drifting.started += dt.timedelta(hours=hour)
        drifting.fire(kind)
    monkeypatch.setattr(page_bounds, "MAX_PAGE_BYTES", 1)
    kinds, before = [], ""
    for _ in range(3):
        answer = drifting.client.get("/alerts", params={"limit": 10} | ({"before": before} if before else {})).json()
        kinds += [alert["kind"] for alert in answer["alerts"]]
        before = answer["next"]
    assert kinds == ["both", "label", "covariate"]
    assert before is None


def test_an_ordinary_answer_is_whole(drifting: Drifting) -> None:
    with drifting.engine.connect() as connection:
        assert len(streams.load_all(connection)) == len(drifting.streams())
    answer = drifting.client.get("/alerts").json()
    assert (len(answer["alerts"]), answer["next"]) == (1, None)


def test_metrics_do_without_what_is_left_out_of_large_reports(large: Drifting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_bounds, "MAX_PAGE_BYTES", 1)
    answer = large.client.get("/metrics")
    assert answer.status_code == 200
    assert "tidemark_window_end_timestamp_seconds{" in answer.text
    assert "tidemark_label_proportion{" not in answer.text
