"""What the pages tell of the watch for further shifts during an incident."""

from ..store.stream_status import StatusJson, StreamStatus

TEXTS = {
    "too_few_predictions": "a further shift would not be seen yet: too few predictions since the change",
    "preparing": "a further shift would not be seen yet: its detector is being prepared",
    "catching_up": "a further shift would be seen late: its detector is catching up",
    "failed": "a further shift would not be seen: its detector could not be prepared",
}


def gap(status: StatusJson) -> str | None:
    """Return why a further shift of an open incident would not be seen, or the predictions in which none was sought;
    None where there is no such gap."""
    further = StreamStatus.from_json(status).further_shifts
    if further is None:
        return None
    parts = []
    if further.state in TEXTS:
        parts.append(TEXTS[further.state] + (f" ({further.reason})" if further.reason else ""))
    if further.missed:
        parts.append(f"no further shift was sought in {further.missed:,} predictions of this incident")
    return "; ".join(parts) or None
