"""What is kept of predictions before an answer may leave: their rows in the spool, and their counts."""

import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from uuid_utils.compat import uuid7

from service.api.metrics import ModelMetrics
from service.api.problems import Problem, unavailable
from service.errors import Overloaded
from service.inference.predictor import Asked, Predictions, TooManyImages
from service.inference.session import ModelFailed
from service.inference.thumbnails import thumbnail
from service.ledger.spool import Spool
from service.store.predictions import HALF, SINGLE, LoggedPrediction

Matrix = NDArray[np.float64]
Correction = Callable[[NDArray[np.float32]], Matrix]  # of probabilities (m, k) for other class proportions


@dataclass(frozen=True, slots=True)
class Kept:
    """A request's predictions, logged."""

    rows: list[LoggedPrediction]
    predictions: Predictions
    corrected: Matrix | None = None  # (m, k), probabilities at other class proportions

    @property
    def answered(self) -> NDArray[np.floating]:
        """The probabilities (m, k) that the answer is made of."""
        return self.predictions.probabilities if self.corrected is None else self.corrected


class Keeper:
    """Logs the predictions of a model's batch in one transaction of the spool; what every `Predictor` here ends with.

    Parameters
    ----------
    model : name:version.
    correction : what answers are corrected by; the log keeps both, and what is counted stays as the model said it.
    thumbnails : keep a small picture of each image.
    """

    def __init__(
        self,
        model: str,
        spool: Spool,
        metrics: ModelMetrics,
        correction: Correction | None = None,
        thumbnails: bool = False,
    ) -> None:
        self._model = model
        self._spool = spool
        self._metrics = metrics
        self._correction = correction
        self._thumbnails = thumbnails

    def __call__(self, predictions: Predictions, requests: Sequence[Asked]) -> list[Kept]:
        """Return each request's rows with its predictions.

        Raises
        ------
        Overloaded
            The spool is full: nothing was kept, nothing may be answered.
        """
        started = time.perf_counter()
        corrected = None if self._correction is None else self._correction(predictions.probabilities)
        rows = logged(self._model, predictions, requests, corrected, self._thumbnails)
        self._spool.append(rows)
        self._metrics.observe("log", time.perf_counter() - started)
        self._metrics.predicted(rows)
        return [
            Kept(rows[asked.rows], predictions.rows(asked.rows), None if corrected is None else corrected[asked.rows])
            for asked in requests
        ]


async def kept(predicting: Awaitable[Kept]) -> Kept:
    """Await a request's predictions.

    Raises
    ------
    Problem
        413 or 503: nothing was kept, nothing may be answered.
    """
    try:
        return await predicting
    except TooManyImages as error:
        raise Problem(413, str(error)) from None
    except Overloaded as error:
        raise unavailable(str(error), error.retry_after) from None
    except ModelFailed as error:
        raise Problem(503, str(error)) from None


def logged(
    model: str,
    predictions: Predictions,
    requests: Sequence[Asked],
    corrected: Matrix | None = None,
    thumbnails: bool = False,
) -> list[LoggedPrediction]:
    """Return predictions as they are logged, under new ids."""
    m = len(predictions)
    limit = np.finfo(HALF).max
    probabilities = predictions.probabilities.astype(HALF)
    embeddings = np.clip(predictions.embeddings, -limit, limit).astype(HALF)
    properties = predictions.properties.astype(SINGLE)
    confidences = predictions.probabilities[np.arange(m), predictions.indices].tolist()
    tags = [asked.tags for asked in requests for _ in range(asked.rows.stop - asked.rows.start)]
    moved = [None] * m if corrected is None else [row.tobytes() for row in corrected.astype(HALF)]
    pictures = map(thumbnail, predictions.pixels) if thumbnails else itertools.repeat(None, m)
    indices = predictions.indices.tolist()
    columns = zip(indices, confidences, probabilities, embeddings, properties, tags, moved, pictures, strict=True)
    return [
        LoggedPrediction(uuid7(), model, label, confidence, p.tobytes(), e.tobytes(), a.tobytes(), own, other, picture)
        for label, confidence, p, e, a, own, other, picture in columns
    ]
