"""Predictions that another server made, checked row by row and written to the log."""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np
import orjson
from sqlalchemy import Engine

from ..errors import InvalidPredictions
from ..inference.fixed_projection import project
from ..inference.probabilities import TOLERANCE, Floats, ModelFailed, distributions
from ..spool.spool import Spool
from ..store import models
from ..store.logged import Logged, logged
from .model_registry import RegisteredModel

OBSERVED_PER_REQUEST = 1000
MAX_CLOCK_SKEW = dt.timedelta(minutes=5)  # lead that the clock of another server may have
MAX_EMBEDDING = 65_536  # values


@dataclass(frozen=True)
class Observed:
    """Predictions of a model, a row each, as another server made them."""

    ids: Sequence[UUID]  # version 7: their times are in them
    probabilities: Floats  # (m, k)
    embeddings: Floats  # (m, d)
    tags: Sequence[dict[str, str]]


class ObservationLog:
    """Logs predictions of models that are served elsewhere.

    Parameters
    ----------
    embedding_sizes : Mapping[str, int]
        The size of the embedding of each model, by name:version, of which it is known.
    """

    def __init__(self, spool: Spool, engine: Engine, embedding_sizes: Mapping[str, int]) -> None:
        self._spool = spool
        self._engine = engine
        self._embedding_sizes = dict(embedding_sizes)

    async def append(self, model: RegisteredModel, observed: Observed) -> None:
        """Log predictions and count them; all of them, or none.

        Raises
        ------
        InvalidPredictions
            A row is not a prediction of this model.
        Overloaded
            The spool is full.
        """
        observed = checked(model, observed)
        size = observed.embeddings.shape[1]
        expected = self._embedding_sizes.get(model.name)
        if expected is None:
            expected = await asyncio.to_thread(self._pin_embedding_size, model, size)
            self._embedding_sizes[model.name] = expected
        if size != expected:
            raise InvalidPredictions(
                f"prediction 0: embedding has {size} values, those of {model.name} have {expected}"
            )
        batch = as_logged(model, observed)
        await asyncio.to_thread(self._spool.append, batch)
        model.metrics.predicted(batch)
        for tags in observed.tags:
            model.metrics.images_accepted(tags, 1)

    def embedding_size(self, model: RegisteredModel) -> int | None:
        """Return the number of values of a model's embedding, if it is known."""
        return self._embedding_sizes.get(model.name)

    def _pin_embedding_size(self, model: RegisteredModel, size: int) -> int:
        with self._engine.begin() as connection:
            return models.pin_embedding_size(connection, model.model_id, size)


def checked(model: RegisteredModel, observed: Observed) -> Observed:
    """Return predictions whose rows fit the model, whatever their embedding's size.

    Raises
    ------
    InvalidPredictions
        A row is not a prediction of this model; the error names the first one.
    """
    classes = len(model.bundle.labels)
    if observed.probabilities.shape[1] != classes:
        raise InvalidPredictions(
            f"prediction 0: {observed.probabilities.shape[1]} probabilities, {model.name} has {classes} labels"
        )
    probabilities = as_distributions(observed.probabilities)
    embeddings = observed.embeddings
    if not 1 <= embeddings.shape[1] <= MAX_EMBEDDING:
        raise InvalidPredictions(
            f"prediction 0: embedding has {embeddings.shape[1]} values, expected 1 to {MAX_EMBEDDING}"
        )
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise InvalidPredictions(f"prediction {finite.argmin()}: embedding holds NaN, infinity or more than FP32 can")
    return replace(observed, probabilities=probabilities, embeddings=project(embeddings))


def as_distributions(rows: Floats) -> Floats:
    """Return rows (m, k) that are probability distributions but for the rounding of their origin, with sums of 1.

    Raises
    ------
    InvalidPredictions
        A row is not a probability distribution; the error names the first one.
    """
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise InvalidPredictions(f"prediction {finite.argmin()}: probabilities hold NaN or infinity")
    try:
        return distributions(rows)
    except ModelFailed:
        for number, row in enumerate(rows):
            try:
                distributions(row[None])
            except ModelFailed:
                outside = row.min() < -TOLERANCE or row.max() > 1 + TOLERANCE
                reason = "outside of 0..1" if outside else f"add up to {row.sum():.4g}, expected 1"
                raise InvalidPredictions(f"prediction {number}: probabilities {reason}") from None
        raise


def as_logged(model: RegisteredModel, observed: Observed) -> Logged:
    """Return checked predictions as rows of the log; without images they have no image properties."""
    return logged(
        model.name,
        b"".join([prediction_id.bytes for prediction_id in observed.ids]),
        observed.probabilities,
        observed.embeddings,
        tags=[orjson.dumps(tags) for tags in observed.tags] if any(observed.tags) else None,
    )


def milliseconds(at: dt.datetime, retention_days: int) -> int:
    """Return a moment in milliseconds of the Unix epoch.

    Raises
    ------
    ValueError
        It lies in the future, or before the predictions that are kept.
    """
    now = dt.datetime.now(dt.UTC)
    if at > now + MAX_CLOCK_SKEW:
        raise ValueError(f"{at.isoformat()} lies in the future, it is {now.isoformat(timespec='seconds')}")
    if at < now - dt.timedelta(days=retention_days):
        raise ValueError(f"{at.isoformat()} is older than the {retention_days} days that predictions are kept")
    return int(at.timestamp() * 1000)
