"""A server with the pages alone, on a database with one drifting stream, one window and one alert."""

import datetime as dt
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert

from service.pages import routes
from service.settings import Settings
from service.store import models, tables

ALERT = UUID("01920000-0000-7000-8000-000000000001")
AT = dt.datetime(2026, 1, 2, 14, 2, tzinfo=dt.UTC)
CLASSES = [str(digit) for digit in range(10)]
SHARES = dict.fromkeys(CLASSES, 0.1)


def report() -> dict[str, Any]:
    """Return a window report with every part that the pages show."""
    edges = [step / 24 for step in range(25)]
    moved = {**SHARES, "3": 0.31}
    return {
        "size": 500,
        "p_value": 1e-5,
        "drifted": True,
        "kind": "covariate",
        "summary": "Images are darker than in training (brightness 0.31 → 0.22) <b>",
        "tests": {
            name: {"statistic": 0.04, "p_value": p, "effect": 0.3}
            for name, p in (("mmd", 1e-5), ("ks", 0.02), ("proportions", 0.4), ("residual", 0.0004))
        },
        "label_shift": {
            "reference": SHARES,
            "estimated": moved,
            "low": {name: share - 0.03 for name, share in moved.items()},
            "high": {name: share + 0.03 for name, share in moved.items()},
        },
        "proportions": moved,
        "performance": {"estimated_accuracy": 0.91, "low": 0.89, "high": 0.93, "reference_accuracy": 0.99},
        "properties": [
            {"name": "contrast", "p_value": 0.2, "effect": 0.1, "reference_mean": 0.4, "window_mean": 0.41},
            {"name": "brightness", "p_value": 1e-9, "effect": -0.8, "reference_mean": 0.31, "window_mean": 0.22},
        ],
        "histograms": [
            {"name": name, "edges": edges, "reference": [1 / 24] * 24, "window": [step / 276 for step in range(24)]}
            for name in ("brightness", "contrast")
        ],
        "witnesses": [{"id": f"0192-{row}", "score": 3.2, "nearest": [1, 2, 3]} for row in range(14)],
    }


@pytest.fixture
def window_id(engine: Engine) -> int:
    """The id of the stored window."""
    history = [[AT.isoformat(), 100 * step, 0.3 if step < 30 else 0.3 * (step - 29)] for step in range(60)]
    status = {
        "evidence": 9.0,
        "threshold": 4.9,
        "change_point": 2950,
        "history": history,
        "rate": 2.0,
        "expected_run_time": 100_000,
        "feedback": {"accuracy": 0.9, "low": 0.8, "high": 0.96, "n": 50},
    }
    with engine.begin() as connection:
        model_id = models.register(connection, "mnist", "1", "0" * 64, CLASSES)
        known = {"model_id": model_id, "rows": 0, "arrays": b""}
        reference_id = connection.execute(
            insert(tables.references).values(known).returning(tables.references.c.id)
        ).scalar_one()
        values = {"model_id": model_id, "slice": "camera=7", "reference_id": reference_id, "status": status}
        statement = insert(tables.streams).values(**values, state="drifting", kind="covariate", since=AT, seen=5900)
        stream_id = connection.execute(statement.returning(tables.streams.c.id)).scalar_one()
        common = {"stream_id": stream_id, "kind": "covariate", "p_value": 1e-5, "report": report()}
        window = {"start": AT, "end": AT, "first": 0, "size": 500, "drifted": True, "seconds": 0.2}
        found = connection.execute(
            insert(tables.windows).values(**common, **window).returning(tables.windows.c.id)
        ).scalar_one()
        alert = {"id": ALERT, "state": "firing", "since": AT, "fired_at": AT, "position": 5000, "window_id": found}
        connection.execute(insert(tables.alerts).values(**common, **alert, summary=report()["summary"]))
    return int(found)


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    """A client of the pages."""
    app = FastAPI()
    app.include_router(routes.router)
    app.state.engine, app.state.settings = engine, settings
    with TestClient(app, headers={"Accept": "text/html"}) as client:
        yield client
