"""Further shifts of an incident on a real Postgres: kills leave the evidence, and every gap is reported."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, select, update

from tests.support.monitoring import Installation
from tests.support.seed import Seeded, seed
from tests.support.server import database_state
from tidemark.api.endpoints import drift
from tidemark.api.endpoints.drift_metrics import DriftCollector
from tidemark.api.endpoints.metrics import drift_exposition
from tidemark.drift import Reference
from tidemark.monitor.baseline_cache import BaselineCache
from tidemark.monitor.baseline_preparation import second_baseline
from tidemark.monitor.further_shift_watch import FurtherShiftWatch
from tidemark.monitor.monitor import Monitor
from tidemark.monitor.rows_in_order import read_in_order
from tidemark.pages import routes
from tidemark.settings import Settings
from tidemark.store import log, monitor_progress, tables
from tidemark.store.further_shift_status import FurtherShiftStatus
from tidemark.store.stream_status import StreamStatus


@pytest.fixture
def installation(engine: Engine, url: str) -> Installation:
    return Installation(engine, url)


def watch_of(monitor: Monitor) -> FurtherShiftWatch:
    (model,) = monitor.models
    assert model.state is not None
    assert model.state.whole.further is not None
    return model.state.whole.further


def evidence_of(further: FurtherShiftWatch) -> tuple[float, int]:
    assert further.second is not None
    return further.second.detector.evidence, further.second.detector.count


def undisturbed_evidence(installation: Installation, monitor: Monitor) -> tuple[float, int]:
    """Return the evidence of a second detector that one process has given each prediction since its start."""
    further = watch_of(monitor)
    (model,) = monitor.models
    assert model.state is not None
    assert further.second is not None
    prepared = further.second.prepared.reference
    with installation.engine.connect() as connection:
        rows = read_in_order(connection, installation.model_id, further.baseline_ids, prepared)
        sizes = prepared.embeddings.shape[1], prepared.classes
        later = log.read(connection, installation.model_id, further.start, 10_000, *sizes)
    assert rows is not None
    assert later is not None
    (stored,) = [item for key, item in monitor._baselines._ready.items() if key.reference_id]
    baseline = second_baseline(rows, stored, installation.settings)
    detector = baseline.detector(further.second.detector.expected_run_time)
    detector.update(later.embeddings, later.probabilities, later.properties)
    return detector.evidence, detector.count


def drifted(installation: Installation, monitor: Monitor) -> None:
    """Let an incident open, and send enough predictions since its change for a second baseline."""
    installation.send(400, monitor)
    for _ in range(2):
        installation.send(300, monitor, move=0.6)


def die(installation: Installation, monitor: Monitor) -> None:
    """Let a monitor end without a word, as a kill does, and its leases run out."""
    with installation.engine.begin() as connection:
        monitor_progress.release(connection, [model.whole.id for model in monitor.models], monitor.id)


def test_a_monitor_that_dies_leaves_the_evidence_for_further_shifts_bit_for_bit(installation: Installation) -> None:
    monitor = installation.monitor()
    drifted(installation, monitor)
    for _ in range(3):
        installation.send(111, monitor, move=0.6)
        die(installation, monitor)
        monitor = installation.monitor()
        installation.send(23, monitor, move=0.6)
    assert evidence_of(watch_of(monitor)) == undisturbed_evidence(installation, monitor)
    assert evidence_of(watch_of(monitor))[0] > 0
    assert installation.stream().status["further_shifts_missed"] == 0


def test_a_shift_during_the_preparation_of_a_detector_alarms_and_the_preparation_is_visible(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = installation.monitor()
    with monkeypatch.context() as without_preparation:
        without_preparation.setattr(BaselineCache, "seconds", lambda _: [])
        drifted(installation, monitor)
        installation.send(200, monitor, move=1.6)
        status = StreamStatus.from_json(installation.stream().status)
        assert status.further_shifts is not None
        assert status.further_shifts.state == "preparing"
        assert status.further_shifts.waiting >= 200
        die(installation, monitor)
    monitor = installation.monitor()
    monitor.settle()
    (alert,) = installation.alerts()
    assert "further_shift" in [entry.get("reason") for entry in alert.history]


def test_a_second_baseline_outlasts_a_step_that_fails(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that would use it fails; it is neither lost nor prepared again."""
    prepared: list[Reference] = []
    accept = Reference.accept

    def counted(self: Reference, *arrays: Any, **values: Any) -> Reference:
        prepared.append(self)
        return accept(self, *arrays, **values)

    monkeypatch.setattr(Reference, "accept", counted)
    monitor = installation.monitor()
    advance, failures = monitor_progress.advance, iter(range(1))

    def fail_once(*arguments: Any) -> bool:
        if prepared and next(failures, None) is not None:
            raise ArithmeticError("no step")
        return advance(*arguments)

    monkeypatch.setattr(monitor_progress, "advance", fail_once)
    monkeypatch.setattr("tidemark.monitor.step_retries.FIRST_BACKOFF", 0.0)
    drifted(installation, monitor)
    monitor.settle()
    installation.send(10, monitor, move=0.6)
    assert next(failures, None) is None
    assert len(prepared) == 1
    assert evidence_of(watch_of(monitor)) == undisturbed_evidence(installation, monitor)


@pytest.fixture
def seeded(engine: Engine) -> Seeded:
    return seed(engine)


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    """A client of the pages and of `/drift`."""
    app = FastAPI()
    app.include_router(routes.router)
    app.include_router(drift.router)
    app.state.server = database_state(engine, settings)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def with_status(engine: Engine, seeded: Seeded) -> Callable[[FurtherShiftStatus], None]:
    """Give the drifting stream a status of its watch for further shifts."""

    def store(further: FurtherShiftStatus) -> None:
        drifting = tables.streams.c.kind != "none"
        with engine.begin() as connection:
            (values,) = connection.execute(select(tables.streams.c.status).where(drifting)).scalars()
            status = StreamStatus.from_json(values)
            changed = StreamStatus(**{**vars(status), "further_shifts": further, "further_shifts_missed": 1234})
            connection.execute(update(tables.streams).where(drifting).values(status=changed.to_json()))

    return store


@pytest.mark.parametrize(
    ("further", "text"),
    [
        (FurtherShiftStatus("watching"), None),
        (FurtherShiftStatus("too_few_predictions"), "too few predictions since the change"),
        (FurtherShiftStatus("preparing", waiting=5), "its detector is being prepared"),
        (FurtherShiftStatus("catching_up", waiting=5, missed=7), "in 7 predictions of this incident"),
        (FurtherShiftStatus("failed", missed=7, reason="no rows"), "could not be prepared (no rows)"),
    ],
    ids=lambda value: value.state if isinstance(value, FurtherShiftStatus) else "",
)
def test_every_state_without_a_watch_for_further_shifts_is_in_the_metrics_the_pages_and_the_json(
    engine: Engine,
    seeded: Seeded,
    client: TestClient,
    with_status: Callable[[FurtherShiftStatus], None],
    further: FurtherShiftStatus,
    text: str | None,
) -> None:
    with_status(further)
    families = text_string_to_metric_families(drift_exposition(DriftCollector(engine)).decode())
    samples = [sample for family in families for sample in family.samples]
    unwatched = {
        sample.labels["reason"] for sample in samples if sample.name.endswith("shifts_unwatched") and sample.value
    }
    assert unwatched == ({further.state} - {"watching"})
    assert max(sample.value for sample in samples if sample.name.endswith("shifts_missed_total")) == 1234
    states = [item["further_shifts"] for item in client.get("/drift").json()["streams"]]
    values = {"state": further.state, "waiting": further.waiting, "missed": further.missed, "reason": further.reason}
    assert values in states
    html = {"Accept": "text/html"}
    for page in ("/", seeded.alert):
        html_text = client.get(page, headers=html).text
        assert ("further shift" in html_text) == (text is not None)
        assert text is None or text in html_text
