"""A predictor that returns each request's predictions."""

from collections.abc import Sequence
from typing import Any

from tidemark.inference.bundle import Bundle
from tidemark.inference.predictions import Predictions, RequestRows
from tidemark.inference.predictor import Predictor


def split(predictions: Predictions, requests: Sequence[RequestRows]) -> list[Predictions]:
    """Return each request's own predictions."""
    return [predictions.rows(request.rows) for request in requests]


def predictor_of(bundle: Bundle, **changes: Any) -> Predictor[Predictions]:
    return Predictor(bundle, split, **changes)
