"""Which values of a tag have streams of their own: the busiest, found in bounded memory."""

from collections.abc import Iterable, Mapping
from typing import Any

OTHER = "other"  # the value that pools all others
REVIEW = 2000  # predictions with the tag between two looks at who is busiest
CANDIDATES = 10  # values counted for each that may have a stream
MIN_COUNT = 20  # of a value that takes another's place
AHEAD = 2  # times the other's count that it must have


class Busiest:
    """The first values to come have streams while there is room; later a value that is twice as busy as the least
    busy of them takes its place.

    Values are counted as in Space-Saving (Metwally, Agrawal and El Abbadi 2005): a bounded number of counters, of
    which a new value takes over the least, with its count as possible error; those with streams keep theirs. What a
    value surely has is its count without that error. Counts are halved at each review, so that they tell of the last
    few thousand predictions. All of it depends on the order of the values only, not on how they are batched.

    Parameters
    ----------
    limit : values that may have streams.
    own : values that have.
    state : what `state` returned, empty at first.
    """

    def __init__(self, limit: int, own: Iterable[str], state: Mapping[str, Any]) -> None:
        self.own = set(own)
        self._limit = limit
        self._seen = int(state.get("seen", 0))
        self._counts: dict[str, list[int]] = {value: list(pair) for value, pair in state.get("counts", {}).items()}
        for value in self.own:
            self._counts.setdefault(value, [0, 0])

    def place(self, value: str) -> str:
        """Count a prediction's value; return it if it has a stream, else OTHER."""
        self._count(value)
        if value not in self.own and value != OTHER and len(self.own) < self._limit:
            self.own.add(value)
        placed = value if value in self.own else OTHER
        self._seen += 1
        if self._seen >= REVIEW:
            self._review()
        return placed

    @property
    def state(self) -> dict[str, Any]:
        """What the next transaction needs to know."""
        return {"seen": self._seen, "counts": self._counts}

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
        while len(self.own) > self._limit:
            self.own.remove(self._weakest())
        while candidates := self._candidates():
            busiest = max(candidates, key=lambda value: (self._sure(value), value))
            weakest = self._weakest()
            if self._sure(busiest) < max(MIN_COUNT, AHEAD * self._counts[weakest][0]):
                break
            self.own.remove(weakest)
            self.own.add(busiest)
        halved = {value: [count // 2, error // 2] for value, (count, error) in self._counts.items()}
        self._counts = {value: pair for value, pair in halved.items() if pair[0] or value in self.own}
        self._seen = 0

    def _candidates(self) -> list[str]:
        return [value for value in self._counts if value not in self.own and value != OTHER]

    def _weakest(self) -> str:
        return min(self.own, key=lambda value: (self._counts[value][0], value))

    def _sure(self, value: str) -> int:
        count, error = self._counts[value]
        return count - error
