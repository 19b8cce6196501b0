"""Assignment of a model's predictions to the streams of its slices, deterministic in the order of the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .heavy_hitters import OTHER, HeavyHitters, HittersJson

Tags = Mapping[str, str]
Rows = NDArray[np.int64]
SliceCounts = Mapping[str, HittersJson]  # the counters of each tag


class SliceName(NamedTuple):
    """A tag and one of its values; as text `camera=7`, the name of the slice's stream."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"

    @classmethod
    def parse(cls, text: str) -> "SliceName":
        """Return the slice that a stream's name means; a value may hold equals signs, a key may not."""
        key, _, value = text.partition("=")
        return cls(key, value)


@dataclass(frozen=True)
class Assignment:
    """The slices that the predictions of one batch belong to.

    Parameters
    ----------
    rows : dict
        The rows of the batch by the name of their slice, ascending; none for a slice that was not met.
    current : frozenset
        The slices that have streams after the batch; streams of other slices are to be retired.
    ended : frozenset
        The slices whose streams ended within the batch. One that is current again starts a new stream, to which
        only its rows after the end belong.
    """

    rows: dict[str, Rows]
    current: frozenset[str]
    ended: frozenset[str]


class SliceAssigner:
    """Gives each prediction to one slice of each tag that it carries.

    The assignment depends on the order of the log only, so that a monitor which replays the log from a checkpoint
    gives every prediction to the same slice again.

    Parameters
    ----------
    keys : sequence of str
        The tags whose values are streams.
    limit : int
        The number of values of a tag that may have streams, without the one that pools the others.
    tracked : iterable of str
        The names of the slices that have streams.
    state : mapping
        What `state` returned, empty at first.
    """

    def __init__(self, keys: Sequence[str], limit: int, tracked: Sequence[str], state: SliceCounts) -> None:
        names = [SliceName.parse(name) for name in tracked]
        self._hitters = {
            key: HeavyHitters(
                limit, {name.value for name in names if name.key == key and name.value != OTHER}, state.get(key)
            )
            for key in keys
        }

    def assign(self, tags: Sequence[Tags]) -> Assignment:
        """Return the slices of predictions by their tags, in the order of the log."""
        members: dict[str, list[int]] = {}
        ended: set[str] = set()
        for key, hitters in self._hitters.items():
            for row, pairs in enumerate(tags):
                if value := pairs.get(key):
                    name = str(SliceName(key, hitters.place(value)))
                    members.setdefault(name, []).append(row)
                    while hitters.replaced_values:
                        replaced = str(SliceName(key, hitters.replaced_values.pop()))
                        members.pop(replaced, None)
                        ended.add(replaced)
        rows = {name: np.array(numbers, dtype=np.int64) for name, numbers in members.items()}
        for key, hitters in self._hitters.items():
            for value in hitters.tracked_values:
                rows.setdefault(str(SliceName(key, value)), np.zeros(0, np.int64))
        return Assignment(rows, frozenset(self._current()), frozenset(ended))

    def names(self, tags: Tags) -> list[str]:
        """Return the slices that a prediction's tags mean now, without counting it."""
        names = []
        for key, hitters in self._hitters.items():
            if value := tags.get(key):
                names.append(str(SliceName(key, value if value in hitters.tracked_values else OTHER)))
        return names

    @property
    def state(self) -> SliceCounts:
        """The counters of every tag as JSON values."""
        return {key: hitters.state for key, hitters in self._hitters.items()}

    def _current(self) -> list[str]:
        return [
            str(SliceName(key, value))
            for key, hitters in self._hitters.items()
            for value in (*hitters.tracked_values, OTHER)
        ]
