"""The kinds of drift that the images of a stream had over time, by which a label that comes back late is judged."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .labels import FedBackLabels

MAX_REGIMES = 50  # spans of time that are remembered of a stream, the newest

RegimeJson = tuple[str, str, str | None, Sequence[float] | None]  # kind, since, until and proportions in a checkpoint


@dataclass(frozen=True)
class Regime:
    """A span of time in which the images of a stream had drifted.

    Parameters
    ----------
    kind : str
        The kind of the drift.
    since, until : datetime
        The change, and the end of the incident; None while it lasts.
    proportions : tuple of float, optional
        The class proportions that were estimated last in that time.
    fall : float, default 0
        The largest fall of the accuracy that an estimate without labels allowed for in that time.
    """

    kind: str
    since: dt.datetime
    until: dt.datetime | None = None
    proportions: tuple[float, ...] | None = None
    fall: float = 0.0

    def to_json(self) -> RegimeJson:
        """Return the span as JSON values."""
        return self.kind, self.since.isoformat(), self.until.isoformat() if self.until else None, self.proportions

    @classmethod
    def from_json(cls, values: RegimeJson, fall: float = 0.0) -> "Regime":
        """Return the span that `to_json` gave; the fall is stored apart, which earlier versions do not read."""
        kind, since, until, proportions = values
        return cls(
            kind,
            dt.datetime.fromisoformat(since),
            dt.datetime.fromisoformat(until) if until else None,
            tuple(proportions) if proportions else None,
            fall,
        )


def regimes_from_json(items: Sequence[RegimeJson], falls: Sequence[float]) -> tuple[Regime, ...]:
    """Return spans, with their falls of the accuracy where these were stored."""
    padded = [*falls, *[0.0] * (len(items) - len(falls))]
    return tuple(Regime.from_json(item, fall) for item, fall in zip(items, padded, strict=True))


def with_regime(
    regimes: tuple[Regime, ...],
    kind: str | None,
    since: dt.datetime,
    now: dt.datetime,
    proportions: tuple[float, ...] | None,
    fall: float = 0.0,
) -> tuple[Regime, ...]:
    """Return the spans with the present kind of drift in the last one.

    Parameters
    ----------
    kind : str, optional
        The kind of the incident that is open now, if one is.
    since : datetime
        The time of its change.
    fall : float, default 0
        The fall of the accuracy that the last estimate without labels allowed for.
    """
    last = regimes[-1] if regimes and regimes[-1].until is None else None
    if last is not None and last.kind == kind:
        return (*regimes[:-1], replace(last, proportions=proportions, fall=max(last.fall, fall)))
    if last is not None:
        regimes = (*regimes[:-1], replace(last, until=now))
    if kind is not None:
        regimes = (*regimes, Regime(kind, since if last is None else now, None, proportions, fall))
    return regimes[-MAX_REGIMES:]


def regime_at(regimes: Sequence[Regime], moment: dt.datetime) -> Regime | None:
    """Return the span that a moment lies in, the newest of several, or None while nothing had drifted."""
    for regime in reversed(regimes):
        if regime.since <= moment and (regime.until is None or moment < regime.until):
            return regime
    return None


def runs_by_regime(labels: FedBackLabels, regimes: Sequence[Regime]) -> Iterator[tuple[FedBackLabels, Regime | None]]:
    """Yield consecutive labels whose predictions were made in the same span, in the order of the labels."""
    regimes_of_rows = [regime_at(regimes, moment) for moment in labels.times]
    first = 0
    for row in range(1, len(regimes_of_rows) + 1):
        if row == len(regimes_of_rows) or regimes_of_rows[row] is not regimes_of_rows[first]:
            yield labels.rows(slice(first, row)), regimes_of_rows[first]
            first = row
