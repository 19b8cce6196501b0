"""How requests to predict end: counted by status, timed, and what was refused of them by reason and slice."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from ..errors import InvalidPredictions, Overloaded, UnknownModel
from ..inference.images import NotAnImage, TooManyPixels
from ..inference.model import ModelFailed
from ..inference.predictor import TooManyImages
from ..serving.counters import ModelMetrics
from .problems import CLIENT_CLOSED_REQUEST, status_of

REASONS: dict[type[BaseException], str] = {
    NotAnImage: "not_an_image",
    TooManyPixels: "too_large",
    TooManyImages: "too_large",
    ModelFailed: "model_failed",
    InvalidPredictions: "invalid_predictions",
    Overloaded: "overloaded",
    UnknownModel: "unknown_model",
}  # reasons for the counter, by the error that refuses a request
REASONS_OF_STATUS = {
    408: "timeout",
    413: "too_large",
    415: "unsupported_type",
    503: "overloaded",
}  # reasons for the counter, by the status of errors that only HTTP has
OTHER_REASON = "invalid_request"
SERVER_ERROR = "server_error"


def refusal_reason(error: BaseException) -> str:
    """Return why a request was refused, as one of a few words."""
    for kind in type(error).__mro__:
        if kind in REASONS:
            return REASONS[kind]
    status = status_of(error)
    return SERVER_ERROR if status == 500 else REASONS_OF_STATUS.get(status, OTHER_REASON)


@contextmanager
def refusals_counted(metrics: ModelMetrics, tags: Sequence[dict[str, str]]) -> Iterator[None]:
    """Count predictions of another server, a set of tags each, as refused if the block fails."""
    try:
        yield
    except Exception as error:
        for row_tags in tags:
            metrics.images_refused(refusal_reason(error), row_tags, 1)
        raise


class PredictOutcome:
    """Counts and times a request to predict: `with PredictOutcome(model.metrics) as outcome:`.

    Attributes
    ----------
    tags : dict[str, str]
        The request's tags, as far as they have been read.
    images : int
        The request's images, as far as they have been counted; 1 before.
    """

    __slots__ = ("_metrics", "_started", "images", "tags")

    def __init__(self, metrics: ModelMetrics) -> None:
        self._metrics = metrics
        self.tags: dict[str, str] = {}
        self.images = 1

    def __enter__(self) -> "PredictOutcome":
        self._started = time.perf_counter()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None:
            self._metrics.answered(200)
            self._metrics.images_accepted(self.tags, self.images)
        else:
            status = status_of(error)
            self._metrics.answered(status)
            if status == CLIENT_CLOSED_REQUEST:
                self._metrics.images_abandoned(self.images)
            else:
                self._metrics.images_refused(refusal_reason(error), self.tags, self.images)
        self._metrics.observe("total", time.perf_counter() - self._started)
