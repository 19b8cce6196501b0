"""Traffic in which some predictions, or all, have no image properties: another server made them."""

import numpy as np
from sqlalchemy import Engine

from tests.support.monitoring import WORLD, Installation
from tests.support.predictions import write
from tidemark.drift import Reference
from tidemark.monitor.baseline_preparation import load
from tidemark.monitor.missing_properties import fill_missing
from tidemark.store import log
from tidemark.store.logged import logged
from tidemark.store.prediction_id import id_at

MOMENT = 1_795_000_000_000  # milliseconds of the epoch


def test_calm_traffic_stays_calm_and_a_shift_is_found(engine: Engine, url: str) -> None:
    """The share of predictions without properties goes from all to half, whose own properties still count."""
    installation = Installation(engine, url)
    monitor = installation.monitor()
    noise = np.random.default_rng(1)  # of the ids, which pick the properties that stand in

    def send(n: int, without: float, move: float = 0.0) -> None:
        arrays = WORLD.traffic(n, installation.rng, move=move)
        parts = zip(arrays["probabilities"], arrays["embeddings"], arrays["properties"], strict=True)
        batches = [
            logged(
                "m:1",
                id_at(MOMENT, noise.bytes(10)).bytes,
                p[None],
                e[None],
                None if number % 10 < 10 * without else measured[None],
            )
            for number, (p, e, measured) in enumerate(parts)
        ]
        with engine.begin() as connection:
            write(connection, *batches)
        monitor.settle()

    send(600, without=1.0)
    send(600, without=0.5)
    assert installation.alerts() == []
    assert installation.stream().seen == 1200
    assert all(row.report["properties"] == [] for row in installation.windows())
    with engine.connect() as connection:
        reference = load(connection, installation.stream().reference_id)
    _check_filling(installation, reference)
    send(200, without=1.0, move=0.6)
    (alert,) = installation.alerts()
    assert alert.kind == "covariate"


def _check_filling(installation: Installation, reference: Reference) -> None:
    with installation.engine.connect() as connection:
        batch = log.read(connection, installation.model_id, 0, 700, WORLD.d, WORLD.k)
    assert batch is not None
    assert batch.properties is not None
    lacking = np.isnan(batch.properties).all(axis=1)
    assert lacking.sum() == 650
    properties = fill_missing(reference, batch.ids, batch.properties)
    assert properties is not None
    np.testing.assert_array_equal(properties[~lacking], batch.properties[~lacking])
    assert all((reference.properties == row).all(axis=1).any() for row in properties[lacking])
