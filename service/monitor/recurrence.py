"""Drifts that come back: what past incidents of a stream looked like, and which of them a new one resembles."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from ..store.report_json import RecurrenceJson
from .stored_report import StoredReport

MAX_PATTERNS = 30  # kinds of past incidents that a stream remembers, those that came last
SIMILARITY = 0.8  # cosine between the changes of two incidents, from which one resembles the other
SIZE_RATIO = 3.0  # ratio of the sizes of two similar changes at the most
SMALL_CHANGE = 0.15  # size of all changes together below which they tell nothing; what sampling gives is about 0.1
CLASS_WEIGHT = 3.0  # weight of a change of a class share by 1, next to a property that moves by a standard deviation


class SignatureJson(TypedDict):
    """A signature as a checkpoint holds it."""

    kind: str
    view: str
    changes: dict[str, float]


class PatternJson(TypedDict):
    """A pattern as a checkpoint holds it."""

    signature: SignatureJson
    times: RecurrenceJson


@dataclass(frozen=True)
class Signature:
    """The signature of an incident.

    Parameters
    ----------
    kind : str
        The kind of the shift.
    view : str
        The detector's view that carried the evidence.
    changes : mapping of str to float
        The effect on each image property, and the change of each class share.
    """

    kind: str
    view: str
    changes: Mapping[str, float]

    def to_json(self) -> SignatureJson:
        """Return the signature as JSON values."""
        return {"kind": self.kind, "view": self.view, "changes": dict(self.changes)}

    @classmethod
    def from_json(cls, values: SignatureJson) -> "Signature":
        """Return the signature that `to_json` gave."""
        return cls(values["kind"], values["view"], values["changes"])

    def clearer(self, other: "Signature") -> "Signature":
        """Return that of two signatures of one incident which shows it better: a later one of another kind, else the
        one with the larger changes, since windows at the end of an incident hold calm predictions as well."""
        return other if other.kind != self.kind or _size(other.changes) > _size(self.changes) else self

    def resembles(self, other: "Signature") -> bool:
        """Check whether two incidents are of the same kind, in the same direction and of a similar size.

        Where no property and no class tells anything, as of images of which only the embedding is known, the view
        that carried the evidence decides.
        """
        if self.kind != other.kind:
            return False
        sizes = _size(self.changes), _size(other.changes)
        if max(sizes) < SMALL_CHANGE:
            return self.view == other.view
        return max(sizes) <= SIZE_RATIO * min(sizes) and self._has_direction_of(other)

    def comes_back_as(self, other: "Signature") -> bool:
        """Check whether a later incident may be this one again: of its kind, or with changes in the same direction.

        The kind alone does not decide, since the first window of an incident is small and may name another kind.
        """
        sizes = _size(self.changes), _size(other.changes)
        return self.kind == other.kind or (min(sizes) >= SMALL_CHANGE and self._has_direction_of(other))

    def _has_direction_of(self, other: "Signature") -> bool:
        product = sum(value * other.changes.get(name, 0.0) for name, value in self.changes.items())
        return product >= SIMILARITY * _size(self.changes) * _size(other.changes)


@dataclass(frozen=True)
class Recurrence:
    """Earlier incidents that a new one resembles: how many, and when they began."""

    count: int
    first: dt.datetime
    last: dt.datetime

    @property
    def text(self) -> str:
        """The recurrence in words, as the summary of an alert ends."""
        times = "once before" if self.count == 1 else f"{self.count} times so far"
        return f"as on {self.last.day} {self.last:%B %Y}, {times}"

    def to_json(self) -> RecurrenceJson:
        """Return the recurrence as JSON values."""
        return {"count": self.count, "first": self.first.isoformat(), "last": self.last.isoformat(), "text": self.text}

    @classmethod
    def from_json(cls, values: RecurrenceJson) -> "Recurrence":
        """Return the recurrence that `to_json` gave."""
        return cls(values["count"], _parse_time(values["first"]), _parse_time(values["last"]))


@dataclass(frozen=True)
class Pattern:
    """Past incidents of a stream that resemble each other."""

    signature: Signature
    times: Recurrence

    def to_json(self) -> PatternJson:
        """Return the pattern as JSON values."""
        return {"signature": self.signature.to_json(), "times": self.times.to_json()}

    @classmethod
    def from_json(cls, values: PatternJson) -> "Pattern":
        """Return the pattern that `to_json` gave."""
        return cls(Signature.from_json(values["signature"]), Recurrence.from_json(values["times"]))


def signature_of(report: StoredReport | None, kind: str, view: str) -> Signature:
    """Return what an incident looks like by its window report, as far as there is one."""
    changes: dict[str, float] = {}
    if report is not None and report.tested:
        changes = {item.name: item.effect for item in report.window.properties}
        shift = report.window.label_shift
        if shift is not None and kind in ("label", "both"):
            for name, share in shift.estimated.items():
                changes[f"class {name}"] = CLASS_WEIGHT * (share - shift.reference[name])
    return Signature(kind, view, {name: value for name, value in changes.items() if math.isfinite(value)})


def recurrence_of(patterns: Sequence[Pattern], signature: Signature) -> Recurrence | None:
    """Return the past incidents that one resembles, or None if it is the first of its kind."""
    return next((item.times for item in reversed(patterns) if item.signature.resembles(signature)), None)


def with_recurrence(report: StoredReport, recurrence: Recurrence | None) -> StoredReport:
    """Return the report of an alert with the earlier incidents that its own resembles, which end its summary."""
    if recurrence is None:
        return report
    summary = f"{report.summary}; {recurrence.text}"
    return report.with_changes({"summary": summary, "recurrence": recurrence.to_json()})


def remembered(patterns: Sequence[Pattern], signature: Signature, since: dt.datetime) -> tuple[Pattern, ...]:
    """Return the patterns with one more incident that began at `since`, the newest last."""
    for at, pattern in reversed(list(enumerate(patterns))):
        if pattern.signature.resembles(signature):
            times = replace(pattern.times, count=pattern.times.count + 1, last=since)
            merged = Pattern(_mean(pattern, signature), times)
            return (*patterns[:at], *patterns[at + 1 :], merged)
    return (*patterns, Pattern(signature, Recurrence(1, since, since)))[-MAX_PATTERNS:]


def _mean(pattern: Pattern, signature: Signature) -> Signature:
    """Return the mean signature of a pattern with one more incident."""
    count, before = pattern.times.count, pattern.signature
    names = {**before.changes, **signature.changes}
    changes = {
        name: (count * before.changes.get(name, 0.0) + signature.changes.get(name, 0.0)) / (count + 1) for name in names
    }
    return replace(before, changes=changes)


def _size(changes: Mapping[str, float]) -> float:
    return math.sqrt(sum(value * value for value in changes.values()))


def _parse_time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
