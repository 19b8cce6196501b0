"""One drifting stream with a window, its logged images and three alerts, as the monitor leaves them."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Engine, insert

from tests.support.predictions import write
from tests.support.seed_reports import AT, CLASSES, IMAGES, concept, prediction_id, report
from tidemark.inference.thumbnails import thumbnail
from tidemark.store import models, predictions, references, tables
from tidemark.store.logged import logged
from tidemark.store.report_json import SurvivalJson

ALERT = UUID("01920000-0000-7000-8000-000000000001")
LONG_AGO = UUID("01920000-0000-7000-8000-000000000002")
CONCEPT = UUID("01920000-0000-7000-8000-000000000003")
EVIDENCE = [*[0.3] * 30, 6.3, *[60.0 * step for step in range(1, 30)]]  # after every 100 predictions
DROPPED = 11  # the witness whose prediction is no longer kept
PICTURE = thumbnail(np.tile(np.arange(0, 252, 9, dtype=np.uint8), (28, 1)))


@dataclass(frozen=True)
class Seeded:
    """Where to look."""

    stream: str
    window: int
    alert: str
    old_alert: str
    concept_alert: str


def seed(engine: Engine) -> Seeded:
    """Fill an empty database."""
    days = (AT.date(),)
    raw = engine.raw_connection()
    try:
        predictions.ensure_partitions(raw.driver_connection, days)  # type: ignore[arg-type]
        raw.commit()
    finally:
        raw.close()
    with engine.begin() as connection:
        model_id = models.register(connection, "mnist", "1", "0" * 64, CLASSES)
        _log(connection, model_id)
        stream_id = _stream(connection, model_id)
        connection.execute(
            insert(tables.evidence_points),
            [
                {"stream_id": stream_id, "at": AT + dt.timedelta(seconds=50 * step), "position": 100 * step}
                | {"evidence": evidence, "threshold": 4.9}
                for step, evidence in enumerate(EVIDENCE)
            ],
        )
        for early in range(12):
            _window(connection, stream_id, first=250 * early, size=500, drifted=False)
        window_id = _window(connection, stream_id, first=2650, size=350, drifted=True)
        fired = AT + dt.timedelta(seconds=3000 / 2)
        common = {"stream_id": stream_id, "p_value": 1e-5, "summary": report()["summary"]}
        for alert_id, values in (
            (LONG_AGO, {"kind": "concept", "state": "resolved", "resolved_at": AT, "fired_at": AT, "position": 90}),
            (ALERT, {"kind": "covariate", "state": "firing", "fired_at": fired, "position": 3000}),
            (
                CONCEPT,
                {"kind": "concept", "state": "firing", "fired_at": AT, "position": 3000, "report": concept()}
                | {"summary": concept()["summary"]},
            ),
        ):
            since = values["fired_at"] - dt.timedelta(seconds=25)  # type: ignore[operator]
            row = common | {"id": alert_id, "since": since, "window_id": window_id, "report": report()} | values
            connection.execute(insert(tables.alerts).values(row))
    pages = (f"/alerts/{alert_id}/page" for alert_id in (ALERT, LONG_AGO, CONCEPT))
    return Seeded("mnist:1/camera=7", window_id, *pages)


def _log(connection: Connection, model_id: int) -> None:
    ids = [prediction_id(row).bytes for row in range(IMAGES) if row != DROPPED]
    m = len(ids)
    properties = np.tile([0.4, 0.125, 28], (m, 1))
    probabilities = np.tile(np.where(np.arange(10) == 3, 0.75, 0.25 / 9), (m, 1))
    batch = logged(
        "mnist:1",
        b"".join(ids),
        probabilities,
        np.zeros((m, 10)),
        properties,
        [b'{"camera":"7"}'] * m,
        thumbnails=[PICTURE] * m,
    )
    write(connection, batch)
    halves = batch.probabilities[0].tobytes()
    row = {"prediction_id": prediction_id(0), "model_id": model_id, "predicted": 3, "probabilities": halves}
    connection.execute(insert(tables.feedback).values(**row, label=8))


SURVIVAL: SurvivalJson = {
    "images": 300,
    "rehearsals": 66,
    "unchanged_accuracy": 0.93,
    "shifts": [
        {"shift": shift, "unit": unit, "severity": severity, "magnitude": magnitude, "accuracy": accuracy}
        for shift, unit in (("blur", "deviation in pixels"), ("rotation", "degrees, counter-clockwise"))
        for severity, magnitude, accuracy in (
            ("mild", -0.7, 0.92),
            ("mild", 0.7, 0.93),
            ("medium", 1.3, 0.87),
            ("severe", 2.2, 0.41),
        )
    ],
    "left_out": ["mild: fog", "12 mixtures of two operations"],
}


def _stream(connection: Connection, model_id: int) -> int:
    arrays = {"embeddings": np.zeros((0, 2))}
    reference_id = references.save(connection, model_id, arrays, dict.fromkeys(range(3), PICTURE), SURVIVAL)
    status = {
        "evidence": 9.0,
        "threshold": 4.9,
        "change_point": 2950,
        "change_range": [2920, 2970],
        "rate": 2.0,
        "expected_run_time": 100_000,
        "detectable": [{"before": 0.1, "after": 0.15, "predictions": 2415}],
        "budget": {
            "seconds": 2_592_000,
            "predictions": 5_184_000,
            "rate": 2.0,
            "is_assumed": False,
            "watched_share": 0.5,
            "is_duration": True,
        },
        "windows": 13,
        "feedback": {"accuracy": 0.9, "low": 0.8, "high": 0.96, "n": 50},
        "note": "This traffic is not independent: declare a calm span of it with `tidemark calibrate`.",
    }
    values = {
        "model_id": model_id,
        "slice": "camera=7",
        "reference_id": reference_id,
        "status": status,
        "state": "drifting",
        "kind": "covariate",
        "since": AT,
        "seen": 5900,
        "last_success_at": AT,
    }
    statement = insert(tables.streams).values(values).returning(tables.streams.c.id)
    return int(connection.execute(statement).scalar_one())


def _window(connection: Connection, stream_id: int, first: int, size: int, drifted: bool) -> int:
    drifted_values = {"drifted": True, "kind": "covariate", "p_value": 1e-5}
    calm = {"drifted": False, "kind": "none", "p_value": 0.4}
    outcome = drifted_values if drifted else calm
    values = {
        "stream_id": stream_id,
        "report": report() | outcome | {"size": size},
        "start": AT + dt.timedelta(seconds=first / 2),
        "end": AT + dt.timedelta(seconds=(first + size) / 2),
        "first": first,
        "size": size,
        "evidence": 6.0 if drifted else 0.5,
        "threshold": 4.9,
        "seconds": 0.2,
        **outcome,
    }
    statement = insert(tables.windows).values(values).returning(tables.windows.c.id)
    return int(connection.execute(statement).scalar_one())
