"""Writes predictions to the spool before their answers leave, and counts them."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from uuid_utils import uuid7

from ..inference.predictions import Predictions, RequestRows
from ..inference.properties import measure
from ..inference.thumbnails import thumbnail
from ..spool.spool import Spool
from ..store.logged import Logged, logged
from .counters import ModelMetrics

TOP_CLASSES = 5  # classes named in an answer
MEASURED_LATER_BYTES = 4096  # pixels of a batch up to which it takes much longer to measure them alone than with others

Matrix = NDArray[np.float64]
Correction = Callable[[NDArray[np.float32]], Matrix]  # corrects probabilities (m, k) for other class proportions


class LoggedPredictions(NamedTuple):
    """A request's predictions, which have been logged: some rows of a batch."""

    ids: list[str]
    tops: list[list[int]]  # the likeliest classes of each image, at most `TOP_CLASSES`
    confidences: list[list[float]]  # the probabilities of `tops`
    request: RequestRows
    batch: Predictions
    batch_corrected: Matrix | None = None  # (m, k), probabilities at other class proportions

    @property
    def predictions(self) -> Predictions:
        """The model's own predictions."""
        return self.batch.rows(self.request.rows)

    @property
    def corrected(self) -> bool:
        """Whether the answer is corrected for other class proportions."""
        return self.batch_corrected is not None

    @property
    def answered(self) -> NDArray[np.floating]:
        """The probabilities (m, k) that the answer is made of."""
        probabilities = self.batch.probabilities if self.batch_corrected is None else self.batch_corrected
        return probabilities[self.request.rows]


class PredictionLogger:
    """Logs the predictions of a batch in one transaction of the spool, and splits it into the requests' results.

    It is passed to `Predictor` as `finish`.

    Parameters
    ----------
    model : str
        name:version.
    correction : Correction or None
        What corrects answers for other class proportions. The log keeps both; the counts are of the model's own.
    thumbnails : bool, False
        Whether a small picture of each image is logged.
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

    def __call__(self, predictions: Predictions, requests: Sequence[RequestRows]) -> list[LoggedPredictions]:
        """Return each request's rows with its predictions.

        Raises
        ------
        Overloaded
            The spool is full: nothing was logged, nothing may be answered.
        """
        started = time.perf_counter()
        corrected = None if self._correction is None else self._correction(predictions.probabilities)
        ids = [uuid7() for _ in range(len(predictions))]
        tags = [request.tags for request in requests for _ in range(request.rows.stop - request.rows.start)]
        octets = b"".join([prediction_id.bytes for prediction_id in ids])
        batch = log_predictions(self._spool, self._model, octets, predictions, tags, corrected, self._thumbnails)
        self._metrics.observe("log", time.perf_counter() - started)
        self._metrics.predicted(batch)
        answered = predictions.probabilities if corrected is None else corrected
        tops = np.argsort(-answered, axis=1, kind="stable")[:, :TOP_CLASSES]
        texts, classes = list(map(str, ids)), tops.tolist()
        confidences = answered[np.arange(len(tops))[:, None], tops].tolist()
        return [
            LoggedPredictions(
                texts[request.rows], classes[request.rows], confidences[request.rows], request, predictions, corrected
            )
            for request in requests
        ]


def log_predictions(
    spool: Spool,
    model: str,
    ids: bytes,
    predictions: Predictions,
    tags: Sequence[dict[str, str]],
    corrected: Matrix | None = None,
    thumbnails: bool = False,
) -> Logged:
    """Write predictions to the spool, which measures the properties of a few small images later; return them as rows.

    Raises
    ------
    Overloaded
        The spool is full: nothing was logged.
    """
    images = predictions.image_arrays
    is_measured_later = images.pixels.nbytes <= MEASURED_LATER_BYTES
    batch = logged(
        model,
        ids,
        predictions.probabilities,
        predictions.embeddings,
        None if is_measured_later else measure(*images),
        [orjson.dumps(row_tags) for row_tags in tags] if any(tags) else None,
        corrected,
        [thumbnail(pixels) for pixels in predictions.pixels] if thumbnails else None,
    )
    spool.append(batch, images if is_measured_later else None)
    return batch
