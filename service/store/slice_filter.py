"""The condition by which predictions of a model belong to a slice."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SliceFilter:
    """The condition by which predictions belong to a slice: a value of a tag.

    For the slice that pools the remaining values it is any value but the listed ones.

    Parameters
    ----------
    key : str
        The tag.
    value : str
        The value, where `excluded` is None.
    excluded : tuple of str or None
        Values that have slices of their own.
    """

    key: str
    value: str
    excluded: tuple[str, ...] | None = None

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Check whether a prediction with these tags belongs to the slice."""
        value = tags.get(self.key)
        return value == self.value if self.excluded is None else value is not None and value not in self.excluded
