"""Labels that were fed back to a stream, and what they have shown so far."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NotRequired, TypedDict
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..drift import ConceptMonitor, Reference
from ..drift.label_clusters import ClusterScale, LabelClusters
from ..drift.label_history import RECENT
from ..drift.selective_labels import LEVEL, are_errors_only, corrected_accuracy, selection_p_value
from ..store.label_evidence_json import Point
from ..store.prediction_id import time_of
from ..store.stream_status import MeasuredAccuracy
from .label_rate import LabelRate
from .prepared_reference import PreparedReference

MAX_LABELS = 2000  # labels of one step

IdRows = NDArray[np.uint8]  # (m, 16), UUIDs as bytes


class FedBackLabels(NamedTuple):
    """Labels that were fed back to one stream, in the order in which they came."""

    ids: IdRows  # (m, 16)
    predicted: NDArray[np.int64]  # (m,)
    probabilities: NDArray[np.float32]  # (m, k)
    labels: NDArray[np.int64]  # (m,)
    is_first: NDArray[np.bool_]  # (m,), False for a label that corrects an earlier one of the same prediction
    embeddings: NDArray[np.float32]  # (m, d), of the predictions; NaN where the log does not have them any more
    sources: NDArray[np.int64]  # (m,), equal for predictions with the same tags

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The predictions as integers, by which a correction finds the label that it replaces."""
        low = self.ids[:, 8:].copy().view(">i8").ravel().astype(np.int64)
        return np.abs(low)

    @property
    def times(self) -> list[dt.datetime]:
        """The times at which the predictions were made."""
        return [time_of(UUID(bytes=row.tobytes())) for row in self.ids]

    def clusters(self, clusters: LabelClusters) -> NDArray[np.int64]:
        """Return the cluster of each label, which is remembered for those to come."""
        seconds = [moment.timestamp() for moment in self.times]
        return clusters.assign(self.embeddings, self.probabilities, seconds, self.sources)

    def rows(self, index: NDArray[np.int64] | slice) -> "FedBackLabels":
        """Return the labels at `index`."""
        return FedBackLabels(
            self.ids[index],
            self.predicted[index],
            self.probabilities[index],
            self.labels[index],
            self.is_first[index],
            self.embeddings[index],
            self.sources[index],
        )


class LabelJson(TypedDict):
    """The JSON of the labels in a checkpoint, next to their arrays."""

    history: Sequence[Point]
    quiet_at: str | None
    unquiet: int
    rate: NotRequired[Sequence[float]]  # missing where an earlier version wrote it


@dataclass(frozen=True)
class LabelState:
    """The findings of a stream's labels so far; every step changes `monitor`.

    Parameters
    ----------
    monitor : ConceptMonitor
        The sequential tests of the labels.
    clusters : LabelClusters
        Which labels belong together, so that a burst counts once.
    ids : uint8 (at most 500, 16)
        The predictions of the newest labels.
    history : tuple
        Points of evidence: time, number of labels, evidence.
    quiet_at : datetime, optional
        When the evidence was last negligible.
    since_quiet : int
        Labels since then.
    rate : LabelRate
        The share of the recent predictions that are labelled.
    """

    monitor: ConceptMonitor
    clusters: LabelClusters
    ids: IdRows
    history: tuple[Point, ...] = ()
    quiet_at: dt.datetime | None = None
    since_quiet: int = 0
    rate: LabelRate = field(default_factory=LabelRate)

    @classmethod
    def start(cls, reference: Reference, scale: ClusterScale, tolerance: float) -> "LabelState":
        """Return the state before the first label.

        Parameters
        ----------
        scale : ClusterScale
            How near predictions of the same object are.
        tolerance : float
            The loss of accuracy that is no harm.
        """
        return cls(ConceptMonitor(reference, tolerance), LabelClusters(scale), np.zeros((0, 16), np.uint8))

    def accuracy(self, population: NDArray[np.float32], last: int = RECENT) -> MeasuredAccuracy | None:
        """Return the accuracy measured on the last labels; None before the first, and if they are of errors only.

        Parameters
        ----------
        population : float32 (N,)
            Calibrated confidence of a part of the recent predictions. Where labels are not a random sample of
            them the accuracy is corrected for that.
        """
        measured = self.monitor.accuracy(last)
        if measured is None:
            return None
        labels = self.monitor.recent_labels(last)
        if are_errors_only(labels, population):
            return None
        p_value = selection_p_value(labels, population)
        if p_value is None or p_value >= LEVEL:
            return MeasuredAccuracy(*measured)
        corrected = corrected_accuracy(labels, population)
        return MeasuredAccuracy(*corrected, n=measured[3], on_labels=measured[0])

    def errors_only(self, population: NDArray[np.float32]) -> int | None:
        """Return the number of the last labels if predictions seem to be labelled only where they are wrong."""
        labels = self.monitor.recent_labels(RECENT)
        return len(labels.labels) if are_errors_only(labels, population) else None

    def is_over(self, kind: str, harmful: bool) -> bool:
        """Check whether the labels since the last detection show that an incident has ended.

        Parameters
        ----------
        kind : str
            The kind of the incident. A concept shift ends when the model is as good as its confidence again.
        harmful : bool
            Whether the model became worse. That ends when it is as good as on the reference again.
        """
        agrees = kind != "concept" or self.monitor.concept_is_over
        return agrees and (not harmful or self.monitor.harm_is_over)

    def to_arrays(self) -> tuple[dict[str, ArrayLike], LabelJson]:
        """Return the state as arrays and JSON values."""
        rest = LabelJson(
            history=self.history,
            quiet_at=self.quiet_at.isoformat() if self.quiet_at else None,
            unquiet=self.since_quiet,
            rate=list(self.rate),
        )
        return self.monitor.state() | self.clusters.state() | {"ids": self.ids}, rest

    @classmethod
    def from_arrays(
        cls,
        reference: Reference,
        scale: ClusterScale,
        arrays: Mapping[str, ArrayLike],
        rest: LabelJson,
        tolerance: float,
    ) -> "LabelState":
        """Return the state that `to_arrays` gave, in this version or an earlier one."""
        quiet_at = rest["quiet_at"]
        return cls(
            ConceptMonitor.restore(reference, arrays, tolerance),
            LabelClusters.restore(scale, arrays),
            np.asarray(arrays["ids"], dtype=np.uint8).reshape(-1, 16),
            tuple((str(time), int(count), float(evidence)) for time, count, evidence in rest["history"]),
            dt.datetime.fromisoformat(quiet_at) if quiet_at else None,
            int(rest["unquiet"]),
            LabelRate(int(rest["rate"][0]), *rest["rate"][1:]) if "rate" in rest else LabelRate(),
        )


def start_labels(prepared: PreparedReference, tolerance: float) -> LabelState | None:
    """Return the state before the first label of a stream that is compared with a baseline; None without true labels.

    Parameters
    ----------
    tolerance : float
        The loss of accuracy that is no harm.
    """
    if prepared.labelled is None:
        return None
    return LabelState.start(prepared.labelled, prepared.cluster_scale, tolerance)
