"""The reference: held-out training data as a model sees it, and the baselines that replace it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import spread_runs
from .class_mix import rows_of_mix
from .label_shift import estimate_proportions
from .reference_rows import MIN_REFERENCE_ROWS, ReferenceRows
from .rehearsals.record import Rehearsals
from .samples import check_labels, check_names, check_sample
from .temperature_scaling import TemperatureScaling
from .types import Float32Array, FloatArray, IntArray

AcceptedPart = Literal["mix", "images", "all"]  # the class proportions of a change, its images, or both

MIN_ACCEPTED_ROWS = 500  # predictions from which a baseline is accepted: fewer leave its own error too large
MAX_ACCEPTED_ROWS = 20_000  # rows of an accepted baseline, which bounds its memory


@dataclass(frozen=True, eq=False, init=False)
class Reference(ReferenceRows):
    """Held-out training data as the model sees it.

    Parameters
    ----------
    embeddings : float (n, d)
        Any float type, n >= 50.
    probabilities : float (n, k)
        K >= 2, in 0..1, each row summing to one.
    labels : int (n,)
        The true classes; None if they are unknown (kind and performance are then not estimated).
    properties : float (n, p)
        Image properties such as brightness; optional.
    class_names : tuple of str
        K names; "0", "1", ... by default.
    property_names : tuple of str
        P names; "property 0", ... by default.
    accepted : AcceptedPart or None
        "mix", "images" or "all", default None. Set by `accept` on the baseline that it returns.
    source : Reference, default None
        The labelled reference that an accepted baseline was derived from.
    rehearsals : Rehearsals, default None
        What synthetic shifts of the reference's images cost in accuracy.

    Raises
    ------
    ValueError
        Not finite, shapes that do not match, rows that are not probability distributions, labels out of range, fewer
        than 50 rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = Reference(rng.normal(size=(100, 4)), rng.dirichlet([1, 1, 1], 100), labels=rng.integers(0, 3, 100))
    >>> len(reference), reference.classes
    (100, 3)
    """

    embeddings: Float32Array
    probabilities: Float32Array
    labels: IntArray | None
    properties: Float32Array | None
    class_names: tuple[str, ...]
    property_names: tuple[str, ...]
    accepted: AcceptedPart | None
    source: "Reference | None"
    rehearsals: Rehearsals | None

    def __init__(
        self,
        embeddings: ArrayLike,
        probabilities: ArrayLike,
        labels: ArrayLike | None = None,
        properties: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        property_names: Sequence[str] | None = None,
        accepted: AcceptedPart | None = None,
        source: "Reference | None" = None,
        rehearsals: Rehearsals | None = None,
    ) -> None:
        rows = check_sample(embeddings, probabilities, properties)
        if len(rows) < MIN_REFERENCE_ROWS:
            raise ValueError(f"a reference needs at least {MIN_REFERENCE_ROWS} rows, got {len(rows)}")
        k = rows.probabilities.shape[1]
        p = 0 if rows.properties is None else rows.properties.shape[1]
        values = {
            "embeddings": rows.embeddings,
            "probabilities": rows.probabilities,
            "labels": None if labels is None else check_labels(labels, len(rows), k),
            "properties": rows.properties,
            "class_names": check_names(class_names, k, "class_names", ""),
            "property_names": check_names(property_names, p, "property_names", "property "),
            "accepted": accepted,
            "source": source,
            "rehearsals": rehearsals,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Reference":
        """Return the reference that named arrays hold: embeddings, probabilities, and where known the rest.

        Raises
        ------
        ValueError
            As the constructor.
        """
        names = {key: tuple(arrays[key].tolist()) for key in ("class_names", "property_names") if key in arrays}
        return cls(
            arrays["embeddings"],
            arrays["probabilities"],
            arrays.get("labels"),
            arrays.get("properties"),
            class_names=names.get("class_names"),
            property_names=names.get("property_names"),
            rehearsals=Rehearsals.from_arrays(arrays),
        )

    @property
    def labelled(self) -> "Reference":
        """The reference that labels, calibration and accuracy come from: the source of an accepted baseline, or this
        one."""
        return self if self.source is None else self.source

    @property
    def is_traffic(self) -> bool:
        """Whether the rows are traffic in its own order, which need not be independent."""
        return self.accepted in ("images", "all")

    @cached_property
    def calibration(self) -> TemperatureScaling:
        """Bias-corrected temperature scaling of the probabilities, fitted once on the labels (predicted ones where the
        true ones are not known). An accepted baseline has its source's; an accepted class mix moves its biases by the
        logarithm of the new class proportions over the old ones."""
        if self.source is None:
            return TemperatureScaling(self.probabilities, self._labels_or_predicted)
        calibration = copy.copy(self.source.calibration)
        if self.accepted == "mix":
            calibration.bias = calibration.bias + np.log(_shares(self) / _shares(self.source))
        return calibration

    def accept(
        self,
        embeddings: ArrayLike,
        probabilities: ArrayLike,
        properties: ArrayLike | None = None,
        what: AcceptedPart = "all",
    ) -> "Reference":
        """Return a baseline that takes a lasting change of the traffic as the new normal.

        Labels, calibration and accuracy stay those of the reference (`labelled`). The baseline's own sampling error
        is part of every null distribution:

        - "mix": the class proportions changed, the images did not. The baseline is a subsample of the reference's
          rows that has the class proportions of the traffic, estimated a posteriori (Saerens et al. 2002). A
          change of the images is still a drift.
        - "images" and "all": the baseline is the traffic itself, in its own order; where that is not independent,
          the detector's null is a block bootstrap of it. Without labels, a changed mix cannot be told from what the
          changed images do to the predictions, so both are accepted; "all" also takes the estimated class
          proportions as the new ones.

        Parameters
        ----------
        embeddings, probabilities, properties : array_like
            The accepted traffic in its own order, at least 500 rows. Of more than 20,000, runs of 200 rows are taken
            that are spread evenly over the whole span.
        what : AcceptedPart
            "mix", "images" or "all", default "all".

        Returns
        -------
        Reference
            The baseline; its `accepted` and `source` say what it is.

        Raises
        ------
        ValueError
            As `check`; too few rows; an unknown `what`; missing properties.
        """
        if what not in get_args(AcceptedPart):
            raise ValueError(f"what must be one of {', '.join(get_args(AcceptedPart))}, got {what!r}")
        traffic = self.check_complete(embeddings, probabilities, properties)
        if len(traffic) < MIN_ACCEPTED_ROWS:
            raise ValueError(f"accepting needs at least {MIN_ACCEPTED_ROWS} predictions, got {len(traffic)}")
        source = self.labelled
        if what == "mix":
            # The traffic's own sampling error would be the larger one if the baseline had more rows than it has.
            proportions = estimate_proportions(source.calibration(traffic.probabilities), _shares(source))
            index = rows_of_mix(source._labels_or_predicted, proportions, min(len(source), len(traffic)))
            if len(index) < MIN_REFERENCE_ROWS:
                raise ValueError(
                    f"the reference has {len(index)} rows of the classes that this traffic consists of; a mix needs "
                    f'at least {MIN_REFERENCE_ROWS}: accept "all", or build a reference with more of them'
                )
            rows, labels = source.sample.rows(index), source._labels_or_predicted[index]
        else:
            rows, labels = traffic.rows(spread_runs(len(traffic), MAX_ACCEPTED_ROWS)), None
        names = self.class_names, self.property_names
        return Reference(rows.embeddings, rows.probabilities, labels, rows.properties, *names, what, source)

    @property
    def _labels_or_predicted(self) -> IntArray:
        return self.probabilities.argmax(axis=1) if self.labels is None else self.labels


def _shares(reference: Reference) -> FloatArray:
    """Return the class proportions (k,) of a reference's labels, a row at least each."""
    counts = np.bincount(reference._labels_or_predicted, minlength=reference.classes)
    return np.asarray(np.maximum(counts, 1) / len(reference))
