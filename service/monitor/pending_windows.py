"""Window requests without an answer: a part of a stream's state, so that what is not tested before a restart, or before
another monitor takes the model, is tested afterwards."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from .events import Purpose, WindowRequest
from .label_detection import DetectionJson, LabelDetection
from .stream_state import StreamState

STORED: tuple[Purpose, ...] = ("routine", "incident", "labels")  # in checkpoints; an alarm requests its window again


class PendingJson(TypedDict):
    """A window request as a checkpoint holds it, without the ids of its predictions."""

    purpose: Purpose
    first: int
    size: int
    evidence: float
    threshold: float
    detection: DetectionJson | None


def without(pending: Sequence[WindowRequest], answered: WindowRequest) -> tuple[WindowRequest, ...] | None:
    """Return the requests that remain after an answer, or None if it answers none of them: it is a second answer, or
    one to a request that the replay of the log makes again."""
    remaining = tuple(request for request in pending if request.key != answered.key)
    return remaining if len(remaining) < len(pending) else None


def to_json(pending: Sequence[WindowRequest]) -> list[PendingJson]:
    """Return the requests as JSON values."""
    return [
        {
            "purpose": request.purpose,
            "first": request.first,
            "size": len(request.ids),
            "evidence": request.evidence,
            "threshold": request.threshold,
            "detection": request.detection.to_json() if request.detection else None,
        }
        for request in pending
        if request.purpose in STORED
    ]


def with_pending(state: StreamState, values: Sequence[PendingJson]) -> StreamState:
    """Return a state with the requests that `to_json` gave; those whose predictions the state no longer has are counted
    as skipped, but the window of an alarm that labels raised is then that of the newest predictions."""
    pending: list[WindowRequest] = []
    for item in values:
        first, size = item["first"], item["size"]
        ids = state.newest(size, back=state.seen - first - size)
        detection = LabelDetection.from_json(item["detection"]) if item["detection"] else None
        if detection is not None and len(ids) < size:
            ids = state.newest(size)
            first = state.seen - len(ids)
        elif len(ids) < size:
            continue
        pending.append(
            WindowRequest(state.slice, item["purpose"], ids, first, item["evidence"], item["threshold"], detection)
        )
    skipped = state.status.windows_skipped + len(values) - len(pending)
    return replace(state, pending=tuple(pending), status=replace(state.status, windows_skipped=skipped))
