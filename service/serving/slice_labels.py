"""The values of the label `slice` that the tags of a request lead to."""

from collections.abc import Mapping, Sequence

OTHER = "other"  # stands for the values of a tag beyond the first ones


class SliceLabels:
    """Turns tags into slices such as `camera=7`, whose number is bounded.

    Parameters
    ----------
    keys : Sequence[str]
        Tag keys with counts of their own.
    max_values : int
        Number of values of a key that are counted apart: the first ones that come.
    """

    def __init__(self, keys: Sequence[str], max_values: int) -> None:
        self._values: dict[str, set[str]] = {key: set() for key in keys}
        self._max_values = max_values

    def names(self, tags: Mapping[str, str]) -> list[str]:
        """Return the slices that tags belong to; the whole model is not among them."""
        return [f"{key}={self._label(tags[key], values)}" for key, values in self._values.items() if key in tags]

    def _label(self, value: str, values: set[str]) -> str:
        if value in values:
            return value
        if len(values) < self._max_values:
            values.add(value)
            return value
        return OTHER
