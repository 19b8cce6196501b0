"""Heavy hitters of a tag: which of its values have streams, chosen by frequency in bounded memory."""

from collections.abc import Iterable
from typing import TypedDict

OTHER = "other"  # the value that pools all values without a stream
REVIEW = 2000  # predictions with the tag between two reviews of the frequencies
CANDIDATES = 10  # values that are counted for each value that may have a stream
MIN_COUNT = 20  # predictions that a value needs before it may replace another one
LEAD = 2  # times the count of a tracked value that another value needs to replace it


class HittersJson(TypedDict):
    """The counters of a tag as a checkpoint holds them."""

    seen: int  # predictions since the last review
    counts: dict[str, list[int]]  # count and possible error of each value
    tracked: list[str]


class HeavyHitters:
    """The most frequent values of a tag.

    The first values have streams while there is room; later a value that is twice as frequent as the least frequent
    of them replaces it. Values are counted as in Space-Saving (Metwally, Agrawal and El Abbadi 2005): there is a
    bounded number of counters, a new value takes over the smallest one and inherits its count as possible error, and
    tracked values keep theirs. The guaranteed count of a value is its count without that error. Counts are halved at
    each review, so that they describe the last few thousand predictions. All of it depends on the order of the values
    only, not on how they are batched.

    Parameters
    ----------
    limit : int
        The number of values that may have streams.
    tracked_values : iterable of str
        The values that have streams already, unless the state says it.
    state : HittersJson, optional
        What `state` returned, None at first.

    Attributes
    ----------
    tracked_values : set of str
        The values that have streams now.
    replaced_values : list of str
        The values that lost their streams; the caller empties it.
    """

    def __init__(self, limit: int, tracked_values: Iterable[str], state: HittersJson | None = None) -> None:
        self.tracked_values: set[str] = set(tracked_values if state is None else state["tracked"])
        self.replaced_values: list[str] = []
        self._limit = limit
        self._seen = 0 if state is None else state["seen"]
        counts = {} if state is None else state["counts"]
        self._counts: dict[str, list[int]] = {value: list(pair) for value, pair in counts.items()}
        for value in self.tracked_values:
            self._counts.setdefault(value, [0, 0])

    def place(self, value: str) -> str:
        """Count a prediction's value; return it if it has a stream, else OTHER."""
        self._count(value)
        if value not in self.tracked_values and value != OTHER and len(self.tracked_values) < self._limit:
            self.tracked_values.add(value)
        placed = value if value in self.tracked_values else OTHER
        self._seen += 1
        if self._seen >= REVIEW:
            self._review()
        return placed

    @property
    def state(self) -> HittersJson:
        """The counters as JSON values, for `state` of the constructor."""
        counts = {value: list(pair) for value, pair in self._counts.items()}
        return {"seen": self._seen, "counts": counts, "tracked": sorted(self.tracked_values)}

    def _count(self, value: str) -> None:
        if value in self._counts:
            self._counts[value][0] += 1
        elif len(self._counts) < (CANDIDATES + 1) * self._limit:
            self._counts[value] = [1, 0]
        else:
            least = min(self._candidates(), key=lambda other: (self._counts[other][0], other))
            count, _ = self._counts.pop(least)
            self._counts[value] = [count + 1, count]

    def _review(self) -> None:
        while len(self.tracked_values) > self._limit:
            self._drop(self._weakest())
        while candidates := self._candidates():
            busiest = max(candidates, key=lambda value: (self._guaranteed(value), value))
            weakest = self._weakest()
            if self._guaranteed(busiest) < max(MIN_COUNT, LEAD * self._counts[weakest][0]):
                break
            self._drop(weakest)
            self.tracked_values.add(busiest)
        halved = {value: [count // 2, error // 2] for value, (count, error) in self._counts.items()}
        self._counts = {value: pair for value, pair in halved.items() if pair[0] or value in self.tracked_values}
        self._seen = 0

    def _drop(self, value: str) -> None:
        self.tracked_values.remove(value)
        self.replaced_values.append(value)

    def _candidates(self) -> list[str]:
        return [value for value in self._counts if value not in self.tracked_values and value != OTHER]

    def _weakest(self) -> str:
        return min(self.tracked_values, key=lambda value: (self._counts[value][0], value))

    def _guaranteed(self, value: str) -> int:
        count, error = self._counts[value]
        return count - error
