"""What fed-back labels say of a stream: its measured accuracy, and whether the labels mean something else now."""

import datetime as dt
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Row

from ..drift import ConceptMonitor, Reference
from ..drift.concept import RECENT, tolerance_of
from ..store import traffic
from ..store.arrays import pack, unpack
from ..store.feedback import Labelled
from ..store.predictions import Cursor

HISTORY = 60  # points of evidence kept for the chart
SHOWN = 12  # images whose labels disagree
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
        state = None if row.concept is None else unpack(row.concept)
        self._monitor = ConceptMonitor(reference) if state is None else ConceptMonitor.restore(reference, state)
        self._ids: list[bytes] = [] if state is None else [key.tobytes() for key in state["ids"]]
        self._status: dict[str, Any] = dict(row.status.get("labels", {}))
        self._detection: dict[str, Any] = {}

    def take(self, kinds: set[str], proportions: list[float] | None, now: dt.datetime) -> Labelled | None:
        """Read what came in; `kinds` of drift that are firing say how far confidence can be trusted."""
        after = Cursor(self._row.feedback_xid, self._row.feedback_seq)
        batch = traffic.labels(self._connection, self._row, after, MAX_LABELS)
        if batch is None:
            return None
        self._monitor.update(
            batch.probabilities,
            batch.predicted,
            batch.labels,
            tolerance=tolerance_of(kinds),
            proportions=proportions if "label" in kinds else None,
        )
        history = self._status.get("history", [])
        point = [now.isoformat(), self._monitor.count, max(self._monitor.evidence, 0.0)]
        self._status["history"] = [*history, point][-HISTORY:]
        self._ids = [*self._ids, *(key.bytes for key in batch.ids)][-RECENT:]
        self._status["calm"] = self._status.get("calm", 0) + len(batch.labels)
        self._status["unquiet"] = self._status.get("unquiet", 0) + len(batch.labels)
        return batch

    def detected(self, run_time: float, seen: int, now: dt.datetime) -> bool:
        """Tell whether the labels disagree with what confidence promised, and start over where they do; the expected
        run time is in predictions of the stream."""
        share = min(1.0, self._monitor.count / max(seen, 1))
        threshold = self._monitor.threshold(run_time, share)
        if self._monitor.evidence < QUIET * threshold:
            self._status |= {"quiet_at": now.isoformat(), "unquiet": 0}
        if self._monitor.evidence <= threshold:
            return False
        self._detection = self._describe(threshold)
        self._status["calm"] = 0
        self._monitor.reset()
        return True

    def _describe(self, threshold: float) -> dict[str, Any]:
        unquiet = self._status.get("unquiet", 0)
        found = self._monitor.agreement(max(unquiet, MIN_LABELS))
        if found is None:
            raise RuntimeError("labels disagree before the first of them has come")
        newest = found.disagreeing[:SHOWN]
        return found.to_dict() | {
            "disagreeing": [str(UUID(bytes=self._ids[-1 - back])) for back in newest],
            "since": self._status.get("quiet_at"),
            "evidence": {
                "history": self._status["history"],
                "threshold": threshold,
                "change": self._monitor.count - unquiet,
            },
        }

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
    def detection(self) -> dict[str, Any]:
        """What the last detection found, as its report keeps it."""
        found = self._detection
        classes = ", ".join(item["name"] for item in found["classes"][:NAMED_CLASSES])
        where = f", most where the model says {classes}" if classes else ""
        summary = (
            f"Labels that come back disagree with the model{where}: accuracy "
            f"{self._monitor.reference_accuracy:.2f} → {found['accuracy']:.2f} on the last {found['n']} labels"
        )
        return {"kind": "concept", "drifted": True, "summary": summary, "labels": found}

    def saved(self, batch: Labelled) -> dict[str, Any]:
        """Return the stream's columns after `batch`."""
        ids = np.frombuffer(b"".join(self._ids), dtype=np.uint8)
        return {
            "concept": pack(self._monitor.state() | {"ids": ids.reshape(-1, 16)}),
            "feedback_xid": batch.cursors[-1].xid,
            "feedback_seq": batch.cursors[-1].seq,
        }

    @property
    def status(self) -> dict[str, Any]:
        """What the next look needs to know."""
        return self._status
