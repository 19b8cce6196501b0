"""What the sequential detector adds up: bounded scores of every prediction, a row each."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from .reference import Reference, Sample
from .views import View, Views
from .whitening import Moments, inverse_root

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

CLIP = 4.0  # deviations: one prediction's influence is bounded, so that its tail does not decide
ODDS = (0.05, 0.4, 3.0, 10.0)  # factors on a class's odds under the alternatives tested
MAX_CLASSES = 200  # with alternatives of their own, the commonest first
MIN_CLASS_ROWS = 30  # of the reference: the share of a rarer class is too uncertain to be held against
MAX_RANK = 128  # principal components that are whitened
RANK_ROWS = 20  # of the reference for each whitened component of P: with many classes it would fit the rows else
OUTLYING = 0.1  # share of outlying predictions under the alternative tested
OUTLYING_POWER = 0.1  # their tail probabilities then have the density 0.1 p^(0.1 - 1)


class Group(NamedTuple):
    """Columns whose mean is compared with the reference's by one quadratic form."""

    view: View
    columns: slice


class DetectorScores:
    """Turns predictions into rows of scores; fitted to one reference, it serves any number of detectors.

    First the grouped scores, with mean zero on the reference: E standardised, P whitened, A whitened, and the lengths
    of E and A (how far out a prediction lies, as normal scores). Then log-likelihood ratios: that a tenth of the
    predictions is outlying in E, in A; and for class c and factor ρ on its odds,
    log((1 + (ρ - 1) p(c|x)) / (1 + (ρ - 1) π_c)), which is the log-likelihood ratio of that label shift where the
    posterior is calibrated. `widen` puts E whitened before the sums of such rows: it is linear, so
    that it costs a tenth when it is done to sums of ten.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._views = Views(reference)
        self._calibration = reference.calibration
        prior = self._calibration(reference.probabilities).mean(axis=0)
        known = np.count_nonzero(prior * len(reference) >= MIN_CLASS_ROWS)
        self._classes = np.sort(np.argsort(-prior, kind="stable")[: min(known, MAX_CLASSES)])
        self._slopes = (np.array(ODDS) - 1)[None, :]
        self._floors = np.log1p(prior[self._classes, None] * self._slopes)
        views = self._clipped(reference.sample)
        ranks = {"P": min(MAX_RANK, max(len(reference) // RANK_ROWS, 1))}
        self._roots = {view: _whitening(rows, ranks.get(view, MAX_RANK)) for view, rows in views.items()}
        self._lengths = {view: np.sort(_squared_lengths(rows)) for view, rows in views.items() if view != "P"}
        sizes: list[tuple[View, int]] = [("E", self._roots["E"].shape[1]), *self._layout(views)]
        stops = np.cumsum([width for _, width in sizes]).tolist()
        self.groups = tuple(
            Group(view, slice(stop - width, stop)) for (view, width), stop in zip(sizes, stops, strict=True)
        )
        self.grouped: int = stops[-1]
        self.starts = [group.columns.start for group in self.groups]
        self.ratio_views: list[View] = list(self._lengths)
        self.ratio_views.extend("L" for _ in range(len(self._classes) * len(ODDS)))
        self.columns = self.grouped + len(self.ratio_views)
        self.narrow = self.columns - sizes[0][1]
        self._row_columns = self.grouped - sizes[0][1]
        rows = np.empty((len(reference), self._row_columns), dtype=np.float32)
        self._fill(rows, views, self._outlying(views))
        self._centre = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.excess = _excess_of_whitening(views["E"])

    def __call__(self, sample: Sample) -> Floats:
        """Return the scores (m, narrow)."""
        views = self._clipped(sample)
        tails = self._outlying(views)
        scores = np.empty((len(sample), self.narrow), dtype=np.float32)
        rows, ratios = scores[:, : self._row_columns], scores[:, self._row_columns :]
        self._fill(rows, views, tails)
        rows -= self._centre
        outlying = tails.shape[1]
        ratios[:, :outlying] = np.log(1 - OUTLYING + OUTLYING * OUTLYING_POWER * tails ** (OUTLYING_POWER - 1))
        posterior = self._calibration(sample.probabilities)[:, self._classes, None]
        ratios[:, outlying:] = (np.log1p(posterior * self._slopes) - self._floors).reshape(len(sample), -1)
        return scores

    @cached_property
    def of_reference(self) -> Floats:
        """The scores (n, narrow) of the reference's own rows."""
        return self(self.reference.sample)

    @cached_property
    def variance(self) -> float:
        """The variance of the reference's grouped scores, summed over the columns."""
        grouped = self.widen(self.of_reference)[:, : self.grouped]
        return float(grouped.var(axis=0, dtype=np.float64).sum())

    def widen(self, sums: Floats) -> Floats:
        """Return sums of scores (..., narrow) with E whitened before them, (..., columns)."""
        root = self._roots["E"]
        return np.concatenate([sums[..., : len(root)] @ root, sums], axis=-1)

    def _clipped(self, sample: Sample) -> dict[View, Floats]:
        views = self._views(sample)
        return {view: np.clip(views[view], -CLIP, CLIP, out=views[view]) for view in ("E", "P", "A") if view in views}

    def _layout(self, views: dict[View, Floats]) -> list[tuple[View, int]]:
        """Return view and width of each group that `_fill` writes."""
        wide: list[tuple[View, int]] = [
            (view, (rows if view == "E" else self._roots[view]).shape[1]) for view, rows in views.items()
        ]
        return wide + [(view, 1) for view in self._lengths]

    def _fill(self, rows: Floats, views: dict[View, Floats], tails: Matrix) -> None:
        """Write the grouped scores into `rows` (m, columns of the groups but the first), not yet centred."""
        at = 0
        for view, values in views.items():
            found = values if view == "E" else values @ self._roots[view]
            rows[:, at : at + found.shape[1]] = found
            at += found.shape[1]
        rows[:, at:] = special.ndtri(1 - tails)

    def _outlying(self, views: dict[View, Floats]) -> Matrix:
        """Return for E and A the probability (m, 1 or 2) that a reference row lies further out."""
        tails = []
        for view, lengths in self._lengths.items():
            inside = np.searchsorted(lengths, _squared_lengths(views[view]), side="right")
            tails.append((len(lengths) - inside + 0.5) / (len(lengths) + 1))
        return np.stack(tails, axis=1)


def _squared_lengths(rows: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def _whitening(rows: Floats, rank: int = MAX_RANK) -> Floats:
    """Return the matrix (columns, at most `rank`) that turns rows into whitened principal components."""
    covariance = Moments.of(rows).covariance
    _, vectors = linalg.eigh(covariance)
    leading = vectors[:, ::-1][:, :rank]
    return np.asarray(inverse_root(covariance) @ leading, dtype=np.float32)


def _excess_of_whitening(rows: Floats) -> float:
    """Return by how much squared lengths of new rows exceed the reference's own after whitening, as a factor.

    A whitening fitted on n rows is tight on those rows. It is fitted on one half and applied to both; half of the
    excess found is that of a fit on twice the rows.
    """
    fitted, fresh = rows[0::2], rows[1::2]
    root = _whitening(fitted)
    inside = np.trace(root.T @ Moments.of(fitted).covariance @ root)
    outside = np.trace(root.T @ Moments.of(fresh).covariance @ root)
    return float(max(1.0, 1 + (outside / inside - 1) / 2)) if inside > 0 else 1.0
