"""A model with its reference in Postgres, to which traffic is logged, and `tidemark remedy` on it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from tests.support.predictions import new_ids, write
from tidemark.cli import app
from tidemark.inference.bundle import Bundle
from tidemark.inference.model import Model
from tidemark.remedy.paired_bootstrap import hits, log_losses
from tidemark.store import feedback, models
from tidemark.store.feedback import FeedbackRow
from tidemark.store.logged import HALF, logged

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # an image of each class


@dataclass
class World:
    """A model with its reference in Postgres, to which traffic is logged."""

    engine: Engine
    bundle: Bundle
    images: Path
    fresh: Draw
    arrays: dict[str, np.ndarray]
    rng: np.random.Generator

    def log(self, labels: np.ndarray, answers: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Log predictions of an image of each class, with the labels that came back where they are not -1; return the
        images and the model's answers."""
        images = self.fresh(labels, self.rng)
        probabilities, embeddings = (np.asarray(part, HALF) for part in Model(self.bundle, threads=1).predict(images))
        batch = logged(self.stream, new_ids(len(probabilities)), probabilities, embeddings)
        with self.engine.begin() as connection:
            write(connection, batch)
            items = [
                FeedbackRow(key, models.ids(connection)[self.stream], int(label), int(predicted), p.tobytes())
                for key, predicted, p, label in zip(
                    batch.uuids,
                    batch.labels,
                    probabilities,
                    [] if answers is None else answers,
                    strict=answers is not None,
                )
                if label >= 0
            ]
            if items:
                feedback.save(connection, items)
        return images, probabilities.astype(np.float32)

    @property
    def stream(self) -> str:
        return f"{self.bundle.name}:{self.bundle.version}"

    def remedy(self, *options: Any) -> Any:
        """Run the command and return what it says."""
        result = self.invoke(*options, "--json")
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)

    def invoke(self, *options: Any) -> Result:
        words = ["remedy", "--stream", self.stream, "--since", "2020-01-01", *map(str, options)]
        return CliRunner().invoke(app, words)

    def with_model(self) -> tuple[Any, ...]:
        return "--bundle", self.bundle.folder, "--images", self.images

    def commoner(self, label: int, count: int, factor: float = 5.0) -> np.ndarray:
        """Draw labels of the reference's proportions, one class commoner."""
        share = np.bincount(self.arrays["labels"]) * np.where(np.arange(10) == label, factor, 1.0)
        return self.rng.choice(10, count, p=share / share.sum())

    def lost(self, predicted: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return the error and the log-loss beyond the reference's."""
        reference = self.arrays["probabilities"].astype(np.float32), self.arrays["labels"]
        return (
            float(hits(*reference).mean() - hits(predicted, labels).mean()),
            float(log_losses(predicted, labels).mean() - log_losses(*reference).mean()),
        )
