"""The end of an incident that labels raised: bets that the errors have fallen, measured against those of the incident.

A null that permits hardly more errors than the reference takes hundreds of labels to reject, however bad the incident
was. That the errors are no longer those of the incident is far quicker to see, and both together are the end: the null
is "at least half of the incident's measured excess of errors is left", and the labels since must permit no doubt that
points the other way.
"""

from collections.abc import Sequence
from math import exp, log, log1p
from typing import NamedTuple

from .intervals import wilson_interval
from .label_records import LabelColumns
from .types import FloatArray

RUN_LENGTH = 10_000  # labels, at least, between two false ends while the errors stay at those of the null
MARGIN = 0.02  # share of errors beyond the permitted ones that the null holds, at least
REMAINING_SHARE = 0.5  # share of the incident's excess of errors that the null holds
ALTERNATIVES = (0.0, 0.5, 1.0)  # error probabilities that are bet on, as places between the expected and the permitted
PRIOR = log(len(ALTERNATIVES))  # nats by which a mixture may lie below its best part
HIGHEST_ERROR = 0.99


class Tally(NamedTuple):
    """Labels, those of them that were wrong, and as many as were permitted to be."""

    labels: float = 0.0
    wrong: float = 0.0
    permitted: float = 0.0

    def joined_with(self, other: "Tally") -> "Tally":
        """Return the tally of the labels of both."""
        return Tally(self.labels + other.labels, self.wrong + other.wrong, self.permitted + other.permitted)

    @classmethod
    def from_labels(cls, labels: LabelColumns, permitted: FloatArray) -> "Tally":
        """Return the tally of labels (m,) with their permitted error probabilities (m,); those of one cluster weigh as
        one."""
        weights = labels.weights
        return cls(float(weights.sum()), float(weights @ ~labels.right), float(weights @ permitted))

    @property
    def margin(self) -> float:
        """The excess of errors that the null holds: half of the least that these labels allow for, or `MARGIN`."""
        if self.labels == 0:
            return MARGIN
        least = wilson_interval(self.wrong, self.labels)[0] - self.permitted / self.labels
        return max(MARGIN, REMAINING_SHARE * least)


class Recovery(NamedTuple):
    """The test of the end of an incident after some labels.

    Label i is permitted to be wrong with the probability m_i. The null is that it is wrong with m_i plus a margin or
    more: half of the incident's excess of errors, at its lower 95 % limit, and at least two points. Three alternatives
    from the expected error probability to m_i are bet on. The margin follows from earlier labels only, so that no bet
    gains on average while the null holds.

    Parameters
    ----------
    sums : tuple of float
        The logarithm of the Shiryaev-Roberts sum of each alternative.
    cusum : float
        The logarithm of the product of the bets since they began to pay.
    incident : Tally
        The labels of the incident: those that raised it, and all until the bets began to pay.
    run : Tally
        The labels since then.

    References
    ----------
    Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86.
    Shin, Ramdas and Rinaldo (2023), E-detectors: a nonparametric framework for sequential change detection.
    """

    sums: tuple[float, ...] = (float("-inf"),) * len(ALTERNATIVES)
    cusum: float = 0.0
    incident: Tally = Tally()
    run: Tally = Tally()

    def followed_by(self, wrong: bool, expected: float, permitted: float) -> "Recovery":
        """Return the test after one more label.

        Parameters
        ----------
        expected, permitted : float
            The error probability of a model that is as good as before, and the one that is no harm or concept shift.
        """
        null = min(permitted + self.incident.margin, HIGHEST_ERROR)
        least = min(expected, permitted)
        bets = []
        for place in ALTERNATIVES:
            error = least + place * (permitted - least)
            bets.append(log(error / null) if wrong else log((1 - error) / (1 - null)))
        sums = tuple(_log_one_plus(value) + bet for value, bet in zip(self.sums, bets, strict=True))
        cusum = self.cusum + _log_sum(bets) - PRIOR
        run = self.run.joined_with(Tally(1.0, float(wrong), permitted))
        if cusum <= 0:
            return Recovery(sums, 0.0, self.incident.joined_with(run), Tally())
        return Recovery(sums, cusum, self.incident, run)

    def restarted(self) -> "Recovery":
        """Return the test without its bets, in the same incident."""
        return Recovery(incident=self.incident.joined_with(self.run))

    @property
    def evidence(self) -> float:
        """The logarithm of the e-detector, in nats."""
        return _log_sum(self.sums) - PRIOR

    @property
    def is_over(self) -> bool:
        """Whether the incident has ended: its errors are excluded, and the labels since are wrong as rarely as
        permitted."""
        return self.evidence > log(RUN_LENGTH) and self.run.wrong <= self.run.permitted

    def to_numbers(self) -> list[float]:
        """Return all that is stored as a list of numbers; see `from_numbers`."""
        return [*self.sums, self.cusum, *self.incident, *self.run]

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> "Recovery":
        """Return the test that `to_numbers` gave."""
        count = len(ALTERNATIVES)
        rest = numbers[count + 1 :]
        return cls(tuple(numbers[:count]), numbers[count], Tally(*rest[:3]), Tally(*rest[3:]))

    @classmethod
    def from_evidence(cls, evidence: float) -> "Recovery":
        """Return the test with this evidence, which a version without the incident's errors stored."""
        return cls(sums=(evidence,) * len(ALTERNATIVES))


def _log_one_plus(logarithm: float) -> float:
    """Return log(1 + exp(x)) without overflow."""
    return max(logarithm, 0.0) + log1p(exp(-abs(logarithm)))


def _log_sum(logarithms: Sequence[float]) -> float:
    """Return log(sum(exp(x))); minus infinity where every x is."""
    largest = max(logarithms)
    return largest if largest == -float("inf") else largest + log(sum(exp(x - largest) for x in logarithms))
