"""What fed-back labels say of a stream: its measured accuracy, and whether the labels mean something else now."""

import datetime as dt
from typing import Any

from sqlalchemy import Connection, Row

from service.drift import ConceptMonitor, Reference
from service.drift.concept import tolerance_of
from service.settings import Settings
from service.store import feedback
from service.store.arrays import pack, unpack
from service.store.feedback import Labelled
from service.store.predictions import Cursor

MAX_LABELS = 2000  # of one transaction
QUIET = 0.5  # share of the threshold below which nothing has begun
CALM_LABELS = 300  # without a further detection, after which a concept shift is over
NAMED_CLASSES = 4
MIN_LABELS = 20  # that the accuracy in a summary is of


class Labels:
    """The labels of a stream since the monitor last looked.

    Parameters
    ----------
    reference : with labels.
    """

    def __init__(self, connection: Connection, row: Row[Any], reference: Reference) -> None:
        self._connection = connection
        self._row = row
        self._names = reference.class_names
        self._monitor = (
            ConceptMonitor(reference) if row.concept is None else ConceptMonitor.restore(reference, unpack(row.concept))
        )
        self._status: dict[str, Any] = dict(row.status.get("labels", {}))

    def take(self, kinds: set[str], proportions: list[float] | None, now: dt.datetime) -> Labelled | None:
        """Read what came in; `kinds` of drift that are firing say how far confidence can be trusted."""
        after = Cursor(self._row.feedback_xid, self._row.feedback_seq)
        batch = feedback.read(self._connection, self._row.model_id, after, MAX_LABELS)
        if batch is None:
            return None
        self._monitor.update(
            batch.probabilities,
            batch.predicted,
            batch.labels,
            tolerance=tolerance_of(kinds),
            proportions=proportions if "label" in kinds else None,
        )
        self._status["calm"] = self._status.get("calm", 0) + len(batch.labels)
        self._status["unquiet"] = self._status.get("unquiet", 0) + len(batch.labels)
        return batch

    def detected(self, settings: Settings, seen: int, now: dt.datetime) -> bool:
        """Tell whether the labels disagree with what confidence promised, and start over where they do."""
        share = min(1.0, self._monitor.count / max(seen, 1))
        threshold = self._monitor.threshold(settings.expected_run_time, share)
        if self._monitor.evidence < QUIET * threshold:
            self._status |= {"quiet_at": now.isoformat(), "unquiet": 0}
        if self._monitor.evidence <= threshold:
            return False
        self._status["classes"] = [self._names[label] for label in self._monitor.classes()[:NAMED_CLASSES]]
        self._status["calm"] = 0
        self._monitor.reset()
        return True

    @property
    def over(self) -> bool:
        """Whether enough labels have agreed since the last detection."""
        return bool(self._status.get("calm", 0) >= CALM_LABELS)

    @property
    def since(self) -> dt.datetime | None:
        """When the evidence was last negligible."""
        quiet_at = self._status.get("quiet_at")
        return dt.datetime.fromisoformat(quiet_at) if quiet_at else None

    @property
    def accuracy(self) -> dict[str, float] | None:
        """The accuracy measured on the last labels, with its interval and their number."""
        found = self._monitor.accuracy()
        return None if found is None else dict(zip(("accuracy", "low", "high", "n"), found, strict=True))

    @property
    def summary(self) -> str:
        """A detection in one sentence."""
        classes = ", ".join(self._status.get("classes", []))
        recent = max(self._status.get("unquiet", 0), MIN_LABELS)
        right, _, _, n = self._monitor.accuracy(recent) or (0.0, 0.0, 1.0, 0)
        where = f", most where the model says {classes}" if classes else ""
        return (
            f"Labels that come back disagree with the model{where}: accuracy "
            f"{self._monitor.reference_accuracy:.2f} → {right:.2f} on the last {n} labels"
        )

    def saved(self, batch: Labelled) -> dict[str, Any]:
        """Return the stream's columns after `batch`."""
        return {
            "concept": pack(self._monitor.state()),
            "feedback_xid": batch.last.xid,
            "feedback_seq": batch.last.seq,
        }

    @property
    def status(self) -> dict[str, Any]:
        """What the next look needs to know."""
        return self._status
