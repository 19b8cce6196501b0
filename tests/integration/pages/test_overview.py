"""The overview: every stream with its state and its evidence."""

import re

from fastapi.testclient import TestClient
from sqlalchemy import Engine, delete, insert, select, update

from tests.support.seed import Seeded
from tests.support.seed_reports import AT
from tidemark.pages import guidance as guidance
from tidemark.store import tables

JSON = {"Accept": "application/json"}


def test_overview_shows_state_budget_and_alert(client: TestClient, seeded: Seeded) -> None:
    page = client.get("/").text
    assert "1 of 2 streams drifting" in page
    assert "about one false alarm in 30 days, by all streams of the model and their labels together" in page
    assert "4.0 predictions a second" in page
    assert "1 in 2 predictions is watched, chosen by id; all of them are logged" in page
    assert "a class from 10% to 15% of traffic: in about 20 minutes at today&#39;s rate" in page
    assert "accuracy 0.90 on the last 50 labels" in page
    assert "<code>tidemark calibrate</code>" in page
    assert seeded.alert in page
    assert "/windows?stream=mnist%3A1/camera%3D7" in page


def test_calm_streams_are_sparklines_that_keep_their_peaks(client: TestClient, engine: Engine, seeded: Seeded) -> None:
    with engine.begin() as connection:
        drifting = tables.streams.c.kind != "none"
        stream_id = connection.execute(select(tables.streams.c.id).where(drifting)).scalar_one()
        connection.execute(delete(tables.evidence_points))
        points = [
            {"stream_id": stream_id, "at": AT, "position": 10 * n, "evidence": 4.0 if n == 151 else 1.0}
            for n in range(100, 200)
        ]
        connection.execute(insert(tables.evidence_points), points)
        connection.execute(update(tables.streams).where(drifting).values(state="calm", kind="none"))
    page = client.get("/").text
    assert "Evidence of drift, 1.0 nats, alarm above 4.9: the last 990 predictions, on a log scale" in page
    heights = [float(point.split(",")[1]) for point in re.findall('class="line" points="(.*?)"', page)[0].split()]
    assert len(heights) <= 70
    assert sum(height < max(heights) for height in heights) == 1


def test_overview_without_streams(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "No stream yet" in page.text


def test_overview_says_that_waiting_predictions_are_not_watched(
    client: TestClient, engine: Engine, seeded: Seeded
) -> None:
    with engine.begin() as connection:
        waiting = {"position": 0, "last_success_at": AT}
        connection.execute(update(tables.streams).where(tables.streams.c.slice == "").values(waiting))
    assert "not watched: no monitor is running" in client.get("/").text
    assert re.search(r"monitor 13 predictions behind, last active \d+ days ago: is it running\?", client.get("/").text)


def test_overview_filters_by_slice(client: TestClient, seeded: Seeded) -> None:
    assert len(client.get("/?slice=camera%3D7", headers=JSON).json()["streams"]) == 1
    assert client.get("/?slice=camera%3D8", headers=JSON).json() == {"streams": [], "alerts": []}


def test_overview_carries_no_reports(client: TestClient, seeded: Seeded) -> None:
    for alert in client.get("/", headers=JSON).json()["alerts"]:
        assert "report" not in alert
