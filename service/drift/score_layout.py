"""Which columns of score rows and of their block sums hold what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .views import Leading


class Group(NamedTuple):
    """Columns of a block sum whose mean is compared with the reference's by one quadratic form."""

    leading: Leading
    columns: slice


@dataclass(frozen=True)
class ColumnLayout:
    """The meaning of the columns of a score row and of a block sum.

    A row has the parts embedding (standardised), log_probability and property (whitened), lengths (how far out the
    embedding and the properties lie), ratios (log-likelihood ratios), and key. In a block sum, the embedding's columns
    are replaced by whitened and embedding (both projections of it), and the key is left out.
    """

    row: Mapping[str, slice]
    block: Mapping[str, slice]

    @classmethod
    def from_widths(cls, widths: Mapping[str, int], whitened: int, embedding: int) -> "ColumnLayout":
        """Return the layout for widths of a row's parts, and of the embedding's two projections in a block sum."""
        projected = {"whitened": whitened} | {name: width for name, width in widths.items() if name != "key"}
        return cls(_consecutive(widths), _consecutive(projected | {"embedding": embedding}))

    @property
    def row_width(self) -> int:
        """The number of columns of a score row."""
        return int(self.row["key"].stop)

    @property
    def block_width(self) -> int:
        """The number of columns of a block sum."""
        return int(self.block["ratios"].stop)

    @property
    def grouped(self) -> int:
        """The number of columns of a block sum that belong to groups; the ratios follow."""
        return int(self.block["ratios"].start)

    @property
    def shared(self) -> slice:
        """The columns of a row that a block sum has, too: all but the embedding and the key."""
        return slice(self.row["embedding"].stop, self.row["key"].start)

    def groups(self) -> tuple[Group, ...]:
        """Return the groups of a block sum's columns."""
        leading = {
            "whitened": Leading.EMBEDDING,
            "embedding": Leading.EMBEDDING,
            "log_probability": Leading.LOG_PROBABILITY,
            "property": Leading.PROPERTY,
        }
        groups = [Group(leading[name], columns) for name, columns in self.block.items() if name in leading]
        lengths = self.block["lengths"]
        views = (Leading.EMBEDDING, Leading.PROPERTY)
        for view, column in zip(views, range(lengths.start, lengths.stop), strict=False):
            groups.append(Group(view, slice(column, column + 1)))
        return tuple(group for group in groups if group.columns.stop > group.columns.start)


def _consecutive(widths: Mapping[str, int]) -> dict[str, slice]:
    stops = np.cumsum(list(widths.values())).tolist()
    return {name: slice(stop - width, stop) for (name, width), stop in zip(widths.items(), stops, strict=True)}
