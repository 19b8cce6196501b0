"""The checks after any disturbance: nothing lost, nothing twice, the same evidence, every alert sent under one id."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, text

from tests.support.installation import Installation
from tidemark.monitor.baseline_preparation import prepare
from tidemark.monitor.budget import stream_budget
from tidemark.monitor.prepared_reference import BaselineKey
from tidemark.monitor.window_explanation import explain
from tidemark.store import log
from tidemark.store.log_batch import PredictionBatch, join_batches
from tidemark.store.stream_status import StreamStatus

SAMPLED = 4  # windows of a stream that are computed again


def predictions_once(installation: Installation, acknowledged: Iterable[str]) -> None:
    """Every acknowledged prediction is stored, none twice."""
    with installation.engine.connect() as connection:
        stored = Counter(str(key) for key in connection.execute(text("SELECT id FROM predictions")).scalars())
    assert [key for key, count in stored.items() if count > 1] == []
    assert [key for key in acknowledged if key not in stored] == []


def windows_once(installation: Installation, stream_name: str) -> None:
    """No window of a stream is there twice; those that are sampled say what one process finds in their rows.

    Every window is one of the regular ones, except those that alerts are about. Windows are tested in the background,
    so that the first one may come some time after its predictions were processed.
    """
    stream, settings = installation.stream(stream_name), installation.settings
    regular_firsts = range(0, stream.seen - settings.window_size + 1, settings.stride)
    query = text(
        "SELECT first, size, p_value, kind, id IN (SELECT window_id FROM alerts) AS alarming "
        "FROM windows WHERE stream_id = :stream ORDER BY id"
    )

    def window_rows() -> Sequence[Row[Any]]:
        with installation.engine.connect() as connection:
            return connection.execute(query, {"stream": stream.id}).all()

    if len(regular_firsts):
        installation.until(window_rows, f"the first window of {stream_name}")
    rows = window_rows()
    assert len({(row.first, row.size) for row in rows}) == len(rows)
    regular = [row for row in rows if row.size == settings.window_size and row.first in regular_firsts]
    prepared = prepare(installation.engine, BaselineKey(stream.reference_id), settings)
    logged = in_log_order(installation, stream.model_id)
    for row in [row for row in regular if not row.alarming][:: max(len(regular) // SAMPLED, 1)]:
        window = explain(prepared, logged.select(slice(row.first, row.first + row.size))).window
        assert (row.p_value, row.kind) == (window.p_value, window.kind), f"{row}: {window}"


def evidence_as_undisturbed(installation: Installation, stream_name: str) -> None:
    """The evidence of a stream that was never reset is, bit for bit, that of one process over the same rows."""
    stream = installation.stream(stream_name)
    prepared = prepare(installation.engine, BaselineKey(stream.reference_id), installation.settings)
    detector = prepared.detector(stream_budget(installation.settings).detector)
    logged = in_log_order(installation, stream.model_id)
    assert len(logged) == stream.seen
    detector.update(logged.embeddings, logged.probabilities, logged.properties)

    def evidence() -> float | None:
        return StreamStatus.from_json(installation.stream(stream_name).status).evidence

    installation.until(lambda: evidence() == detector.evidence, f"the evidence to be {detector.evidence}", 20)


def alerts_delivered(installation: Installation, at_least: int = 1) -> None:
    """Every alert reached the receiver under the id of its delivery, and nothing came that is not an alert."""
    with installation.engine.connect() as connection:
        rows = connection.execute(text("SELECT id, alert_id, event, sequence, outcome FROM deliveries")).all()
        fired = int(connection.execute(text("SELECT count(*) FROM alerts")).scalar_one())
    assert fired >= at_least
    assert len({(row.alert_id, row.sequence) for row in rows}) == len(rows) >= fired  # an incident may come back
    assert {row.outcome for row in rows} <= {"delivered"}
    received = {(key, body["data"]["alert_id"], body["type"]) for key, body in installation.webhooks()}
    assert received == {(str(row.id), str(row.alert_id), row.event) for row in rows}


def in_log_order(installation: Installation, model_id: int) -> PredictionBatch:
    """Return all predictions of a model as the monitor reads them."""
    sizes = (
        installation.assets.reference["embeddings"].shape[1],
        installation.assets.reference["probabilities"].shape[1],
    )
    parts = []
    with installation.engine.connect() as connection:
        after = 0
        while (batch := log.read(connection, model_id, after, 10_000, *sizes)) is not None:
            parts.append(batch)
            after = batch.last
    return join_batches(parts)
