"""The checks after any disturbance: nothing lost, nothing twice, the same evidence, every alert told under one id."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

import numpy as np
from sqlalchemy import text

from tests.acceptance.durability.installation import Installation
from tidemark.monitor.evaluate import explain
from tidemark.monitor.prepared_reference import prepare
from tidemark.store import predictions
from tidemark.store.arrays import unpack
from tidemark.store.predictions import Batch, Cursor

SAMPLED = 4  # windows of a stream that are computed again


def predictions_once(installation: Installation, acknowledged: Iterable[str]) -> None:
    """Every acknowledged prediction is stored, none twice."""
    with installation.engine.connect() as connection:
        stored = Counter(str(key) for key in connection.execute(text("SELECT id FROM predictions")).scalars())
    assert [key for key, count in stored.items() if count > 1] == []
    assert [key for key in acknowledged if key not in stored] == []


def windows_once(installation: Installation, stream_name: str) -> None:
    """Every full window of a stream is there once; those looked at say what one process finds in their rows.

    No other is there, but what an alert is about, which may have taken a window's place.
    """
    stream, settings = installation.stream(stream_name), installation.settings
    expected = list(range(0, stream.seen - settings.window_size + 1, settings.stride))
    query = text(
        "SELECT first, size, p_value, kind, id IN (SELECT window_id FROM alerts) AS alarming "
        "FROM windows WHERE stream_id = :stream ORDER BY id"
    )
    with installation.engine.connect() as connection:
        rows = connection.execute(query, {"stream": stream.id}).all()
    regular = [row for row in rows if row.size == settings.window_size and row.first in expected]
    assert sorted(row.first for row in regular) == expected
    assert all(row.alarming for row in rows if row not in regular)
    watcher = prepare(installation.engine, stream.reference_id, None, settings)
    logged = in_commit_order(installation, stream.model_id)
    for row in [row for row in regular if not row.alarming][:: max(len(regular) // SAMPLED, 1)]:
        report = explain(watcher, part(logged, row.first, row.size))
        assert (row.p_value, row.kind) == (report["p_value"], report["kind"])


def evidence_as_undisturbed(installation: Installation, stream_name: str) -> None:
    """The stored detector of a stream that was never reset is, bit for bit, that of one process over the same rows."""
    stream = installation.stream(stream_name)
    watcher = prepare(installation.engine, stream.reference_id, None, installation.settings)
    detector = watcher.detector(installation.settings)
    logged = in_commit_order(installation, stream.model_id)
    assert len(logged) == stream.seen
    detector.update(logged.embeddings, logged.probabilities, logged.properties)
    kept, expected = unpack(stream.detector), detector.state()
    assert kept.keys() == {name for name, value in expected.items() if value is not None}
    different = [name for name in kept if not np.array_equal(kept[name], np.asarray(expected[name]))]
    assert different == []


def alerts_told(installation: Installation, at_least: int = 1) -> None:
    """Every alert reached the receiver under the id of its delivery, and nothing came that is not an alert."""
    with installation.engine.connect() as connection:
        rows = connection.execute(text("SELECT id, alert_id, event, outcome FROM deliveries")).all()
        fired = int(connection.execute(text("SELECT count(*) FROM alerts")).scalar_one())
    assert fired >= at_least
    assert len({(row.alert_id, row.event) for row in rows}) == len(rows) >= fired
    assert {row.outcome for row in rows} <= {"delivered"}
    told = {(key, body["data"]["alert_id"], body["type"]) for key, body in installation.webhooks()}
    assert told == {(str(row.id), str(row.alert_id), row.event) for row in rows}


def in_commit_order(installation: Installation, model_id: int) -> Batch:
    """Return all predictions of a model as the monitor reads them."""
    with installation.engine.connect() as connection:
        batch = predictions.read(connection, model_id, Cursor(), 1_000_000)
    assert batch is not None
    return batch


def part(batch: Batch, first: int, size: int) -> Batch:
    """Return consecutive predictions out of a batch."""
    columns = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return Batch(**{name: None if rows is None else rows[first : first + size] for name, rows in columns.items()})
