"""Predictions that another server made, checked row by row and turned into rows of the log."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray

from ..api.problems import Problem
from ..inference.projection import projected
from ..store import models
from ..store.logged import Logged, logged
from .model_registry import Known

OBSERVED_PER_REQUEST = 1000
SKEW = dt.timedelta(minutes=1)  # by which another server's clock may be ahead
SUM_TOLERANCE = 0.01  # of a row of probabilities, wide enough for float16
RANGE_TOLERANCE = 1e-5  # beyond 0 and 1, for rounding
MAX_EMBEDDING = 65_536  # values

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Observed:
    """Predictions of a model, a row each, as another server made them."""

    ids: Sequence[UUID]  # version 7: their times are in them
    probabilities: Floats  # (m, k)
    embeddings: Floats  # (m, d)
    tags: Sequence[dict[str, str]]


async def log(state: Any, model: Known, observed: Observed) -> None:
    """Log predictions and count them; all of them, or none.

    Raises
    ------
    Problem
        422: a row that is no prediction of this model.
    Overloaded
        The spool is full.
    """
    check(model, observed)
    observed = replace(observed, embeddings=projected(observed.embeddings))
    size = observed.embeddings.shape[1]
    known = state.embedding_sizes.get(model.name)
    if known is None:
        known = await asyncio.to_thread(_pinned, state, model, size)
        state.embedding_sizes[model.name] = known
    if size != known:
        raise Problem(422, f"prediction 0: embedding has {size} values, those of {model.name} have {known}")
    batch = rows(model, observed)
    await asyncio.to_thread(state.spool.append, batch)
    model.metrics.predicted(batch)


def check(model: Known, observed: Observed) -> None:
    """Raise a 422 that names the first row which is no prediction of this model, whatever its embedding's size."""
    p, classes = observed.probabilities, len(model.bundle.labels)
    if p.shape[1] != classes:
        raise Problem(422, f"prediction 0: {p.shape[1]} probabilities, {model.name} has {classes} labels")
    _refuse(~np.isfinite(p), "probabilities hold NaN or infinity")
    _refuse((p < -RANGE_TOLERANCE) | (p > 1 + RANGE_TOLERANCE), "probabilities outside of 0..1")
    totals = p.sum(axis=1, dtype=np.float64)
    off = np.abs(totals - 1) > SUM_TOLERANCE
    if off.any():
        row = int(off.argmax())
        raise Problem(422, f"prediction {row}: probabilities add up to {totals[row]:.4g}, expected 1")
    e = observed.embeddings
    if not 1 <= e.shape[1] <= MAX_EMBEDDING:
        raise Problem(422, f"prediction 0: embedding has {e.shape[1]} values, expected 1 to {MAX_EMBEDDING}")
    _refuse(~np.isfinite(e), "embedding holds NaN, infinity or more than FP32 can")


def rows(model: Known, observed: Observed) -> Logged:
    """Return checked predictions as they are logged; their images were never seen, so that they have no properties."""
    return logged(
        model.name,
        b"".join([key.bytes for key in observed.ids]),
        np.clip(observed.probabilities, 0, 1),
        observed.embeddings,
        tags=[orjson.dumps(tags) for tags in observed.tags] if any(observed.tags) else None,
    )


def milliseconds(at: dt.datetime, retention_days: int) -> int:
    """Return a moment in milliseconds of the Unix epoch.

    Raises
    ------
    ValueError
        It lies in the future, or before what is kept.
    """
    now = dt.datetime.now(dt.UTC)
    if at > now + SKEW:
        raise ValueError(f"{at.isoformat()} lies in the future, it is {now.isoformat(timespec='seconds')}")
    if at < now - dt.timedelta(days=retention_days):
        raise ValueError(f"{at.isoformat()} is older than the {retention_days} days that predictions are kept")
    return int(at.timestamp() * 1000)


def _refuse(wrong: NDArray[np.bool_], what: str) -> None:
    if wrong.any():
        raise Problem(422, f"prediction {np.argwhere(wrong)[0][0]}: {what}")


def _pinned(state: Any, model: Known, size: int) -> int:
    with state.engine.begin() as connection:
        return models.pin_embedding_size(connection, model.model_id, size)
