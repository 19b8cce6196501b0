"""The share of a stream's recent predictions that are labelled, which the thresholds of the label tests need."""

import math
from typing import NamedTuple

SHORT, LONG = 1000.0, 10_000.0  # predictions after which what came before counts by a factor of e less


class LabelRate(NamedTuple):
    """Decayed counts of labels and predictions, over a shorter and a longer time.

    The larger of the two shares counts: it makes the threshold the higher one, also when labels come back after a
    pause.
    """

    seen: int = 0  # predictions of the stream at the last label
    short_labels: float = 0.0
    short_predictions: float = 0.0
    long_labels: float = 0.0
    long_predictions: float = 0.0

    def with_labels(self, count: int, seen: int) -> "LabelRate":
        """Return the rate after further labels.

        Parameters
        ----------
        count : int
            The number of labels.
        seen : int
            The number of the stream's predictions so far.
        """
        new_predictions = max(seen - self.seen, 0)
        short, long = math.exp(-new_predictions / SHORT), math.exp(-new_predictions / LONG)
        return LabelRate(
            max(seen, self.seen),
            self.short_labels * short + count,
            self.short_predictions * short + SHORT * (1 - short),
            self.long_labels * long + count,
            self.long_predictions * long + LONG * (1 - long),
        )

    @property
    def share(self) -> float:
        """The share of the predictions that are labelled, at most 1."""
        return min(
            1.0,
            max(
                self.short_labels / max(self.short_predictions, 1.0), self.long_labels / max(self.long_predictions, 1.0)
            ),
        )
