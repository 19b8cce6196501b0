"""What is kept of predictions before an answer may leave: their rows in the spool, and their counts."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray
from uuid_utils import uuid7

from ..api.endpoints.metrics import ModelMetrics
from ..api.problems import Problem, unavailable
from ..errors import Overloaded
from ..inference.predictor import Asked, Predictions, TooManyImages
from ..inference.session import ModelFailed
from ..inference.thumbnails import thumbnail
from ..spool.spool import Spool
from ..store.logged import Logged, logged

TOP = 5  # classes named in an answer

Matrix = NDArray[np.float64]
Correction = Callable[[NDArray[np.float32]], Matrix]  # of probabilities (m, k) for other class proportions


@dataclass(frozen=True, slots=True)
class Kept:
    """A request's predictions, logged: some rows of a batch."""

    ids: list[str]
    tops: list[list[int]]  # of each image the likeliest classes of `answered`, at most `TOP`,
    confidences: list[list[float]]  # and their probabilities
    asked: Asked
    batch: Predictions
    batch_corrected: Matrix | None = None  # (m, k), probabilities at other class proportions

    @property
    def predictions(self) -> Predictions:
        """What the model said."""
        return self.batch.rows(self.asked.rows)

    @property
    def corrected(self) -> bool:
        """Whether the answer is corrected for other class proportions."""
        return self.batch_corrected is not None

    @property
    def answered(self) -> NDArray[np.floating]:
        """The probabilities (m, k) that the answer is made of."""
        said = self.batch.probabilities if self.batch_corrected is None else self.batch_corrected
        return said[self.asked.rows]


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
        ids = [uuid7() for _ in range(len(predictions))]
        tags = [asked.tags for asked in requests for _ in range(asked.rows.stop - asked.rows.start)]
        octets = b"".join([key.bytes for key in ids])
        batch = as_logged(self._model, octets, predictions, tags, corrected, self._thumbnails)
        self._spool.append(batch)
        self._metrics.observe("log", time.perf_counter() - started)
        self._metrics.predicted(batch)
        answered = predictions.probabilities if corrected is None else corrected
        tops = np.argsort(-answered, axis=1, kind="stable")[:, :TOP]
        keys, classes = list(map(str, ids)), tops.tolist()
        confidences = np.take_along_axis(answered, tops, axis=1).tolist()
        return [
            Kept(keys[asked.rows], classes[asked.rows], confidences[asked.rows], asked, predictions, corrected)
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


def as_logged(
    model: str,
    ids: bytes,
    predictions: Predictions,
    tags: Sequence[dict[str, str]],
    corrected: Matrix | None = None,
    thumbnails: bool = False,
) -> Logged:
    """Return predictions as they are logged."""
    return logged(
        model,
        ids,
        predictions.probabilities,
        predictions.embeddings,
        predictions.properties,
        [orjson.dumps(own) for own in tags] if any(tags) else None,
        corrected,
        [thumbnail(pixels) for pixels in predictions.pixels] if thumbnails else None,
    )
