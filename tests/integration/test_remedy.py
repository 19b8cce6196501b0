"""`tidemark remedy` from rows in Postgres to a folder: planted shifts of real scans, and their cures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner
from uuid_utils.compat import uuid7

from service.build import reference_arrays
from service.cli import app
from service.inference.bundle import Bundle
from service.inference.graph import init_bundle
from service.inference.labelled import LabelledImages
from service.inference.session import Model
from service.store import feedback, models, predictions, references
from service.store.predictions import HALF, LoggedPrediction

pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
from service.demo.installation import MODEL
from service.demo.scans import Scans, halves, scan

REFERENCE_ROWS = 2000
SINCE = "2020-01-01"
STREAM = "digits:1"


@dataclass
class World:
    """A served model with its reference in Postgres, to which traffic is logged."""

    engine: Engine
    bundle: Bundle
    images: Path
    held_out: Scans
    rng: np.random.Generator

    def log(self, labels: Sequence[int] | np.ndarray, told: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Log a prediction of a scan of each digit, feed back `told` where it is no -1; return what was said."""
        rows = [self.rng.choice(np.flatnonzero(self.held_out.labels == label)) for label in labels]
        said, embeddings = Model(self.bundle, threads=1).predict(scan(self.held_out.images[rows], self.rng))
        halved = said.astype(HALF), embeddings.astype(HALF)
        logged = [
            LoggedPrediction(uuid7(), STREAM, int(p.argmax()), float(p.max()), p.tobytes(), e.tobytes(), None, {})
            for p, e in zip(*halved, strict=True)
        ]
        with self.engine.begin() as connection:
            raw: Any = connection.connection.driver_connection
            predictions.ensure_partitions(raw, {row.at.date() for row in logged})
            predictions.copy(raw, logged, models.ids(connection))
            known = [] if told is None else np.flatnonzero(told >= 0)
            items = [
                {
                    "prediction_id": logged[row].id,
                    "model_id": models.ids(connection)[STREAM],
                    "label": int(told[row]),
                    "predicted": logged[row].label,
                    "probabilities": logged[row].probabilities,
                }
                for row in known
                if told is not None
            ]
            if items:
                feedback.save(connection, items)
        return said, np.asarray(labels)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path, dict[str, Any], Scans]:
    folder = tmp_path_factory.mktemp("digits")
    bundle = init_bundle(MODEL, folder / "bundle", name="digits")
    _, held_out = halves()
    rng = np.random.default_rng(1)
    chosen = rng.integers(0, len(held_out.labels), REFERENCE_ROWS)
    images = folder / "held_out.npz"
    np.savez(images, images=scan(held_out.images[chosen], rng), labels=held_out.labels[chosen])
    arrays = reference_arrays(bundle, LabelledImages(bundle, images))
    return bundle, images, arrays, held_out


@pytest.fixture
def world(
    digits: tuple[Bundle, Path, dict[str, Any], Scans], engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> World:
    bundle, images, arrays, held_out = digits
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", url)
    with engine.begin() as connection:
        model_id = models.register(connection, bundle.name, bundle.version, bundle.sha256, list(bundle.labels))
        references.save(connection, model_id, arrays)
    return World(engine, bundle, images, held_out, np.random.default_rng(2))


def remedy(*options: str) -> Any:
    result = CliRunner().invoke(app, ["remedy", "--stream", STREAM, "--since", SINCE, *options, "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return json.loads(result.stdout)


def common(world: World, digit: int, count: int, factor: float = 5.0) -> np.ndarray:
    share = np.where(np.arange(10) == digit, factor, 1.0)
    return world.rng.choice(10, count, p=share / share.sum())


def test_label_shift_is_named_corrected_and_regained(world: World, tmp_path: Path) -> None:
    world.log(common(world, 8, 1500))
    facts = remedy("--out", str(tmp_path / "out"), "--bundle", str(world.bundle.folder), "--images", str(world.images))
    assert facts["kinds"] == ["label"]
    corrected, weights = facts["remedies"]
    print(corrected["gains"], weights["gains"])
