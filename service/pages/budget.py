"""What a stream's page states of its false alarms, and of the changes that it detects by when."""

from ..api.budget_text import false_alarm_budget
from ..durations import duration, prediction_rate
from ..store.stream_status import DetectableChange, StatusJson, StreamStatus

SHARED = "by all streams of the model and their labels together"


def facts(status: StatusJson) -> list[str]:
    """Return the sentences of a stream's page about its rate, its false alarms and what it can see."""
    return facts_of(StreamStatus.from_json(status))


def facts_of(status: StreamStatus) -> list[str]:
    """Return the sentences for a typed status."""
    texts = []
    budget = status.budget
    if status.rate:
        share = budget.watched_share if budget else 1.0
        texts.append(prediction_rate(status.rate / share))
        if share < 1:
            texts.append(f"1 in {round(1 / share)} predictions is watched, chosen by id; all of them are logged")
    if budget is None:
        return [*texts, "false-alarm budget not known yet"]
    texts.append(f"{false_alarm_budget(budget)}, {SHARED}")
    return texts + [text for change in status.detectable if (text := _detectable_text(change, status.rate))]


def detectable_text(change: DetectableChange, rate: float) -> str:
    """Return when a change of a class share is detected, at a rate of watched predictions a second."""
    shares = f"a class from {change.before:.0%} to {change.after:.0%} of traffic"
    if change.predictions is None:
        return f"{shares}: never, the baseline has too few rows"
    return f"{shares}: in about {duration(change.predictions / rate)}"


def _detectable_text(change: DetectableChange, rate: float | None) -> str | None:
    if not rate:
        return None
    return detectable_text(change, rate) + (" at today's rate" if change.predictions is not None else "")
