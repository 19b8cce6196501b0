"""True labels that come back: matched with logged predictions and stored."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine

from ..model_key import ModelKey
from ..spool import search
from ..spool.spool import Spool
from ..store import feedback, models
from ..store.feedback import FeedbackRow, Predicted
from .counters import ServerMetrics
from .model_registry import ModelRegistry
from .shadow import Shadow

UNKNOWN_LABEL = "the model has no such label"
NO_MODELS_LABEL = "no prediction has the id, and no model here has the label"
INVALID_ID = "the id is not a UUID"


class FeedbackItem(NamedTuple):
    """A true label as a client sends it."""

    id: str
    label: str


class RejectedItem(NamedTuple):
    """An item that was not stored, and why."""

    id: str
    label: str
    reason: str


@dataclass(frozen=True)
class FeedbackResult:
    """The outcome of the items of one request."""

    accepted: int
    unknown: list[str]  # ids that no logged prediction has
    rejected: list[RejectedItem]


class LabelledPredictions(NamedTuple):
    """The rows of labels that models have, one for each prediction, and the labels that they do not have."""

    rows: list[FeedbackRow]
    rejected: list[RejectedItem]


class FeedbackLog:
    """Stores true labels of logged predictions, those that still wait in the spool included.

    Parameters
    ----------
    registry : ModelRegistry
        The models of this server: their shadows get the same labels.
    """

    def __init__(self, engine: Engine, spool: Spool, registry: ModelRegistry, metrics: ServerMetrics) -> None:
        self._engine = engine
        self._spool_folder = spool.path.parent
        self._registry = registry
        self._metrics = metrics

    def record(self, items: Iterable[FeedbackItem]) -> FeedbackResult:
        """Store labels; a repeat overwrites. Items that cannot be stored do not hold up the others.

        Of several items for one prediction the last one counts whose label its model has.
        """
        labels, rejected = labels_by_id(items)
        with self._engine.begin() as connection:
            predictions = feedback.find(connection, list(labels))
            predictions |= self._spooled([key for key in labels if key not in predictions])
            rows, unknown_labels = labelled_predictions(predictions, labels)
            rejected += unknown_labels
            accepted = len(rows)
            for shadow in self._registry.shadows:
                rows += self._shadow_rows(connection, shadow, {key: labels[key] for key in predictions})
            if rows:
                feedback.save(connection, rows)
            names = {model_id: name for name, model_id in models.ids(connection).items()}
        for model_id, count in Counter(row.model_id for row in rows).items():
            self._metrics.feedback_accepted(*ModelKey.parse(names[model_id]), count)
        unknown = []
        for key in [key for key in labels if key not in predictions]:
            missing = [label for label in labels[key] if not self._is_label(label)]
            rejected += [RejectedItem(str(key), label, NO_MODELS_LABEL) for label in missing]
            if len(missing) < len(labels[key]):
                unknown.append(str(key))
        self._metrics.feedback_rejected("unknown_id", len(unknown))
        self._metrics.feedback_rejected("rejected", len(rejected))
        return FeedbackResult(accepted, unknown, rejected)

    def _is_label(self, label: str) -> bool:
        """Check whether some model of this server has a label."""
        return any(label_index(model.bundle.labels, label) is not None for model in self._registry.served)

    def _shadow_rows(
        self, connection: Connection, shadow: Shadow, labels: Mapping[UUID, Sequence[str]]
    ) -> list[FeedbackRow]:
        """Return rows for a shadow's predictions of the same images, as far as it has the label."""
        labels = {shadow.id_of(key): names for key, names in labels.items()}
        predictions = feedback.find(connection, list(labels))
        predictions |= self._spooled([key for key in labels if key not in predictions])
        return labelled_predictions(predictions, labels).rows

    def _spooled(self, ids: Sequence[UUID]) -> dict[UUID, Predicted]:
        """Return predictions that are acknowledged but not yet in Postgres."""
        if not ids:
            return {}
        models_by_name = {model.name: model for model in self._registry.served}
        return {
            key: Predicted(
                models_by_name[row.model].model_id,
                list(models_by_name[row.model].bundle.labels),
                row.label,
                row.probabilities,
            )
            for key, row in search.find(self._spool_folder, list(ids)).items()
            if row.model in models_by_name
        }


def labelled_predictions(
    predictions: Mapping[UUID, Predicted], labels: Mapping[UUID, Sequence[str]]
) -> LabelledPredictions:
    """Return the rows of labels, of several for a prediction that of the last one which its model has.

    Parameters
    ----------
    labels : mapping of UUID to sequence of str
        The labels of each prediction in the order in which they were sent.
    """
    rows, rejected = [], []
    for key, predicted in predictions.items():
        index = None
        for label in labels[key]:
            place = label_index(predicted.labels, label)
            if place is None:
                reason = f"{UNKNOWN_LABEL}, it has {', '.join(predicted.labels[:10])}"[:200]
                rejected.append(RejectedItem(str(key), label, reason))
            else:
                index = place
        if index is not None:
            rows.append(predicted.labelled(key, index))
    return LabelledPredictions(rows, rejected)


def label_index(labels: Sequence[str], label: str) -> int | None:
    """Return the place of a label among a model's labels; spaces around it and its Unicode form do not matter."""
    return _label_indices(tuple(labels)).get(_canonical(label))


@lru_cache(maxsize=32)
def _label_indices(labels: tuple[str, ...]) -> dict[str, int]:
    return {_canonical(label): index for index, label in reversed(list(enumerate(labels)))}


def _canonical(label: str) -> str:
    return unicodedata.normalize("NFC", label).strip()


def labels_by_id(items: Iterable[FeedbackItem]) -> tuple[dict[UUID, list[str]], list[RejectedItem]]:
    """Return the labels by the ids of their predictions, in their order, and the items without such an id."""
    labels: dict[UUID, list[str]] = {}
    rejected = []
    for item in items:
        try:
            labels.setdefault(UUID(item.id), []).append(item.label)
        except ValueError:
            rejected.append(RejectedItem(item.id, item.label, INVALID_ID))
    return labels, rejected
