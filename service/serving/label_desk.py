"""The label desk: draws predictions of a stream to be labelled, and measures the accuracy on the labels that came."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ..errors import NothingToLabel
from ..store import feedback, label_rounds, log, predictions, references, traffic
from ..store.label_rounds import DrawnPrediction, LabelRequest, LabelRound, NewRound
from ..store.log_batch import PredictionBatch
from ..store.streams import StreamRow

if TYPE_CHECKING:
    from ..drift.label_sampling import SampledAccuracy

POPULATION = 2000  # newest predictions of a stream from which those to be labelled are drawn, by default
MIN_POPULATION = 50  # predictions from which some can be drawn
MAX_POPULATION = 20_000  # predictions, which bounds the memory of a request
DRAWN = 200  # predictions that are drawn by default, about three times as many as most rounds need
MIN_DRAWN = 10  # predictions: fewer may be none by chance
MAX_DRAWN = 1000  # predictions, which bounds the size of a round
HALF_WIDTHS = (0.1, 0.05, 0.03, 0.02, 0.01)  # half-widths of the accuracy's interval that can be aimed at
MAX_TARGETS = 2  # targets that are offered at a time


@dataclass(frozen=True)
class Target:
    """The number of further labels that make the interval of the accuracy as narrow as +- `half_width`."""

    half_width: float
    labels: int


@dataclass(frozen=True)
class RoundState:
    """A label round and what its labels have shown so far.

    Parameters
    ----------
    requests : tuple of LabelRequest
        The drawn predictions in the order in which they are to be labelled.
    accuracy : SampledAccuracy, optional
        The accuracy of the population; None before the first label.
    targets : tuple of Target
        The next goals that the round's open requests can reach.
    """

    label_round: LabelRound
    requests: tuple[LabelRequest, ...]
    accuracy: "SampledAccuracy | None"
    targets: tuple[Target, ...]

    @property
    def open_requests(self) -> list[LabelRequest]:
        """The drawn predictions for which a label is still wanted."""
        return [request for request in self.requests if request.is_open]

    @property
    def labelled(self) -> int:
        """The number of drawn predictions with a label."""
        return sum(request.label is not None for request in self.requests)

    @property
    def waiting(self) -> int:
        """The number of labels that do not count yet: a prediction before theirs is open."""
        return self.labelled - len(counted_labels(self.requests))

    @property
    def skipped(self) -> int:
        """The number of drawn predictions that a person could not label."""
        return sum(request.skipped and request.label is None for request in self.requests)

    @property
    def newest_label(self) -> LabelRequest | None:
        """The request whose label came last."""
        labelled = [request for request in self.requests if request.labelled_at is not None]
        return max(labelled, key=lambda request: (request.labelled_at, request.place), default=None)


class LoggedImage(NamedTuple):
    """The log's content for a drawn prediction."""

    id: UUID
    thumbnail: bytes | None  # an encoded image
    tags: dict[str, str]


def start_round(
    connection: Connection,
    stream: StreamRow,
    by: str,
    count: int = DRAWN,
    population: int = POPULATION,
    rng: np.random.Generator | None = None,
) -> int:
    """Draw predictions among the newest ones of a stream, and store them as its newest round; return the round's id.

    Those that have a label already are not drawn. They were not chosen at random, so that they enter the round's
    accuracy by what they are, right or wrong, and stand for no others.

    Raises
    ------
    NothingToLabel
        The stream has no reference, fewer than `MIN_POPULATION` predictions, or none without a label.
    """
    from ..drift.label_sampling import SampledPopulation, inclusion_probabilities  # scipy, at the first use

    if stream.reference_id is None:
        raise NothingToLabel(f"stream {stream.stream} has no reference; run `tidemark reference build` first")
    arrays = references.load(connection, stream.reference_id)
    newest = log.latest(
        connection,
        stream.model_id,
        stream.written,
        population,
        arrays["embeddings"].shape[1],
        len(stream.labels),
        traffic.slice_filter(connection, stream),
    )
    size = 0 if newest is None else len(newest)
    if newest is None or size < MIN_POPULATION:
        raise NothingToLabel(f"{size} predictions of {stream.stream} in the log; at least {MIN_POPULATION} are needed")
    confidence = _confidence(newest, arrays.get("labels"), arrays["probabilities"])
    labels, predicted = feedback.labels_of(connection, newest.uuids), newest.probabilities.argmax(axis=1)
    is_open = np.ones(size, dtype=bool)
    for row, key in enumerate(newest.uuids):
        if key in labels:
            is_open[row], confidence[row] = False, labels[key] == predicted[row]
    if not is_open.any():
        raise NothingToLabel(f"each of the newest {size} predictions of {stream.stream} has a label")
    probability = np.zeros(size)
    probability[is_open] = inclusion_probabilities(confidence[is_open], count)
    rng = rng or np.random.default_rng()
    rows = rng.permutation(np.flatnonzero(rng.random(size) < probability))
    if not len(rows):
        raise NothingToLabel("by chance no prediction was drawn: try again, with a larger count")
    probability *= min(MAX_DRAWN / len(rows), 1.0)  # more may be drawn by chance than was asked for
    rows = rows[:MAX_DRAWN]
    moments = SampledPopulation.from_sample(confidence, probability, len(rows))
    since, until = newest.span
    new = NewRound(stream.id, since, until, size, moments.mean_confidence, moments.label_variance, by)
    ids = newest.uuids
    drawn = [DrawnPrediction(ids[row], float(probability[row]), float(confidence[row])) for row in rows.tolist()]
    return label_rounds.create(connection, new, drawn)


def round_state(connection: Connection, stream: StreamRow) -> RoundState | None:
    """Return the newest round of a stream and what its labels show, or None where there is none."""
    from ..drift.label_sampling import labels_for  # scipy, at the first use

    newest = label_rounds.newest(connection, stream.id)
    if newest is None:
        return None
    requests = tuple(label_rounds.requests(connection, newest.id))
    measured = _accuracy(newest, requests)
    labelled = 0 if measured is None else measured.labels
    variance = newest.label_variance if measured is None else measured.label_variance
    open_requests = sum(request.is_open for request in requests)
    targets = [Target(half, labels_for(half, variance, newest.population) - labelled) for half in HALF_WIDTHS]
    reachable = [target for target in targets if 0 < target.labels <= open_requests][:MAX_TARGETS]
    return RoundState(newest, requests, measured, tuple(reachable))


def counted_labels(requests: Sequence[LabelRequest]) -> list[LabelRequest]:
    """Return the labelled requests before the first open one.

    The order of the requests is random, so that these are a random sample of the drawn predictions, whichever way their
    labels came. Labels behind may have come because the prediction was wrong, such as reports of errors.

    Parameters
    ----------
    requests : sequence of LabelRequest
        In their order.
    """
    in_order = itertools.takewhile(lambda request: not request.is_open, requests)
    return [request for request in in_order if request.label is not None]


def logged_images(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, LoggedImage]:
    """Return what the log has of predictions; those that the retention has dropped are missing."""
    rows = predictions.by_ids(connection, ids, "p.id, p.thumbnail, p.tags")
    return {row[0]: LoggedImage(*row) for row in rows}


def skip(connection: Connection, stream: StreamRow, prediction_id: UUID) -> bool:
    """Record that a person cannot decide the class of a prediction; return whether its request was still open."""
    newest = label_rounds.newest(connection, stream.id)
    return newest is not None and label_rounds.skip(connection, newest.id, prediction_id)


def _confidence(
    batch: PredictionBatch, labels: NDArray[np.integer] | None, reference: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the probability (m,) of each predicted class, calibrated where the reference has true labels."""
    from ..drift.temperature_scaling import TemperatureScaling  # scipy, at the first use

    posterior = batch.probabilities.astype(np.float64)
    if labels is not None:
        calibration = TemperatureScaling(np.clip(reference, 0, 1).astype(np.float32), labels.astype(np.int64))
        posterior = calibration(batch.probabilities)
    predicted = batch.probabilities.argmax(axis=1)
    return np.asarray(np.clip(posterior[np.arange(len(batch)), predicted], 0, 1))


def _accuracy(label_round: LabelRound, requests: Sequence[LabelRequest]) -> "SampledAccuracy | None":
    from ..drift.label_sampling import SampledPopulation, sampled_accuracy  # scipy, at the first use

    labelled = counted_labels(requests)
    if not labelled:
        return None
    population = SampledPopulation(
        label_round.population, label_round.requested, label_round.mean_confidence, label_round.label_variance
    )
    return sampled_accuracy(
        population,
        [request.confidence for request in labelled],
        [request.probability for request in labelled],
        [request.label == request.predicted for request in labelled],
    )
