"""What the sequential detector adds up: bounded scores of every prediction, a row each."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from service.drift.label_shift import Calibration
from service.drift.reference import Reference, Sample
from service.drift.views import View, Views
from service.drift.whitening import Moments, inverse_root

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

CLIP = 4.0  # deviations: one prediction's influence is bounded, so that its tail does not decide
ODDS = (0.05, 0.4, 3.0, 10.0)  # factors on a class's odds under the alternatives tested
MAX_CLASSES = 200  # with alternatives of their own, the commonest first
LENGTHS = np.linspace(0, 1, 101)  # quantiles at which the lengths' distribution is kept


class Group(NamedTuple):
    """Columns whose mean is compared with the reference's by one quadratic form."""

    view: View
    columns: slice


class Scores:
    """Turns predictions into rows of scores.

    First the grouped scores, with mean zero on the reference: E standardised, P whitened, A whitened, and the lengths
    of E and A (how far out a prediction lies, as normal scores). Then log-likelihood ratios: for class c and factor
    ρ on its odds, log((1 + (ρ - 1) p(c|x)) / (1 + (ρ - 1) π_c)), which is the log-likelihood ratio of that label
    shift where the posterior is calibrated. `widen` puts E whitened before the sums of such rows: it is linear, so
    that it costs a tenth when it is done to sums of ten.
    """

    def __init__(self, reference: Reference) -> None:
        self._views = Views(reference)
        predicted = reference.probabilities.argmax(axis=1)
        labels = predicted if reference.labels is None else reference.labels
        self._calibration = Calibration(reference.probabilities, labels)
        prior = self._calibration(reference.probabilities).mean(axis=0)
        self._classes = np.sort(np.argsort(-prior, kind="stable")[:MAX_CLASSES])
        self._slopes = (np.array(ODDS) - 1)[None, :]
        self._floors = np.log1p(prior[self._classes, None] * self._slopes)
        views = self._clipped(reference.sample)
        self._roots = {view: inverse_root(Moments.of(rows).covariance).astype(np.float32) for view, rows in views.items()}
        self._lengths = {view: np.quantile(_squared_lengths(rows), LENGTHS) for view, rows in views.items()}
        sizes = _layout(views)
        stops = np.cumsum([width for _, width in sizes]).tolist()
        self.groups = tuple(
            Group(view, slice(stop - width, stop)) for (view, width), stop in zip(sizes, stops, strict=True)
        )
        self.grouped: int = stops[-1]
        self.starts = [group.columns.start for group in self.groups]
        self.ratios = len(self._classes) * len(ODDS)
        self.columns = self.grouped + self.ratios
        self.narrow = self.columns - views["E"].shape[1]
        self._centre = self._grouped_rows(views).mean(axis=0, dtype=np.float64).astype(np.float32)
        self.excess = _excess_of_whitening(views["E"])

    def __call__(self, sample: Sample) -> Floats:
        """Return the scores (m, narrow)."""
        rows = self._grouped_rows(self._clipped(sample)) - self._centre
        posterior = self._calibration(sample.probabilities)[:, self._classes, None]
        ratios = (np.log1p(posterior * self._slopes) - self._floors).reshape(len(sample), -1)
        return np.hstack([rows, ratios.astype(np.float32)])

    def widen(self, sums: Floats) -> Floats:
        """Return sums of scores (..., narrow) with E whitened before them, (..., columns)."""
        return np.concatenate([sums[..., : len(self._roots["E"])] @ self._roots["E"], sums], axis=-1)

    def _clipped(self, sample: Sample) -> dict[View, Floats]:
        views = self._views(sample)
        return {view: np.clip(views[view], -CLIP, CLIP) for view in ("E", "P", "A") if view in views}

    def _grouped_rows(self, views: dict[View, Floats]) -> Floats:
        parts = [views["E"], *(rows @ self._roots[view] for view, rows in views.items() if view != "E")]
        for view, rows in views.items():
            if view != "P":
                level = np.interp(_squared_lengths(rows), self._lengths[view], _NORMAL_SCORES)
                parts.append(level.astype(np.float32)[:, None])
        return np.hstack(parts)


_NORMAL_SCORES = stats.norm.ppf(np.clip(LENGTHS, 0.001, 0.999))


def _layout(views: dict[View, Floats]) -> list[tuple[View, int]]:
    """Return view and width of each group; the first is E whitened."""
    wide: list[tuple[View, int]] = [(view, rows.shape[1]) for view, rows in views.items()]
    lengths: list[tuple[View, int]] = [(view, 1) for view in views if view != "P"]
    return [wide[0], *wide, *lengths]


def _squared_lengths(rows: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def _excess_of_whitening(rows: Floats) -> float:
    """Return by how much squared lengths of new rows exceed the reference's own after whitening, as a factor.

    A whitening fitted on n rows is tight on those rows. It is fitted on one half and applied to both; half of the
    excess found is that of a fit on twice the rows.
    """
    fitted, fresh = rows[0::2], rows[1::2]
    root = inverse_root(Moments.of(fitted).covariance).astype(np.float32)
    inside = np.trace(root @ Moments.of(fitted).covariance @ root)
    outside = np.trace(root @ Moments.of(fresh).covariance @ root)
    return float(max(1.0, 1 + (outside / inside - 1) / 2)) if inside > 0 else 1.0
