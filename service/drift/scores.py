"""The bounded scores of every prediction that the sequential detector adds up, a row each."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from scipy import special

from .class_ratios import ClassRatios
from .reference import Reference
from .row_products import row_products
from .samples import Sample
from .score_layout import ColumnLayout
from .stream_repeats import KEY_COLUMNS, prediction_keys, repeat_share
from .types import Float32Array, FloatArray
from .views import Leading, View, Views
from .whitening import Moments, excess_of_whitening, whitening

CLIPPED = View.EMBEDDING, View.LOG_PROBABILITY, View.PROPERTY  # views whose values are clipped
CLIP = 4.0  # deviations at which a score is clipped, so that the tail of one prediction does not decide
MAX_RANK = 128  # principal components that are whitened
EMBEDDING_RANK_ROWS = 5  # reference rows for each whitened component of the embedding: more would fit the rows
PROBABILITY_RANK_ROWS = 20  # the same for the log-probabilities, whose tails are longer
MAX_EMBEDDING = 192  # dimensions of the embedding compared as they are; more are projected at random to this number
SKETCH_SEED = 192  # seed of the random projection; it must not change, because states hold projected sums
LONGER = 1e-3  # share of normal rows that are longer than the longest whitened row: one prediction must not decide
OUTLYING = 0.1  # share of outlying predictions under the alternative tested
OUTLYING_POWER = 0.1  # exponent of their tail probabilities p, whose density is then 0.1 p^(0.1 - 1)


class DetectorScores:
    """Turns predictions into rows of scores; fitted to one reference, it serves any number of detectors.

    The grouped scores have mean zero on the reference: the embedding standardised, log-probabilities and properties
    whitened, and the lengths of embedding and properties (how far out a prediction lies, as normal scores). The ratios
    are log-likelihood ratios: that a tenth of the predictions is outlying in the embedding or in the properties, and
    the `ClassRatios`. The key recognises a prediction that comes again. `widen` projects the embedding of sums of rows,
    which is linear and costs a tenth on sums of ten.

    Parameters
    ----------
    reference : Reference
        The reference, or the accepted baseline that `Reference.accept` returned. Equal rows count once; of more than
        20,000 as many are used, drawn at random.

    Attributes
    ----------
    sample : Sample
        The rows of the reference that are used.
    size : int
        Their number.
    layout : ColumnLayout
        The columns of rows and of block sums.
    groups : list of ColumnGroup
        The groups of a block sum's columns.
    ratio_views : list of str
        The view that each ratio is about.
    excess : float
        Factor by which squared lengths of new whitened embeddings exceed those of the reference.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.sample = reference.fitted_sample
        self.size = n = len(self.sample)
        self._views = Views(reference)
        names = CLIPPED if reference.properties is not None else CLIPPED[:-1]
        views = {view: self._clipped(view, self.sample) for view in names}
        whiten_embedding = whitening(views[View.EMBEDDING], min(MAX_RANK, max(n // EMBEDDING_RANK_ROWS, 1)))
        self._sketch = _sketch(reference.embeddings.shape[1])
        self._projections = whiten_embedding if self._sketch is None else np.hstack([whiten_embedding, self._sketch])
        ranks: dict[View, int] = {
            View.LOG_PROBABILITY: min(MAX_RANK, max(n // PROBABILITY_RANK_ROWS, 1)),
            View.PROPERTY: MAX_RANK,
        }
        self._whiten = {view: whitening(views[view], rank) for view, rank in ranks.items() if view in views}
        self._outlying_views: tuple[View, ...] = (
            (View.EMBEDDING, View.PROPERTY) if View.PROPERTY in views else (View.EMBEDDING,)
        )
        # The reference's rows lie nearer to their own mean than new rows do: (n + 1)/(n - 3) for normal ones.
        self._length_factor = (n + 1) / (n - 3)
        self._lengths = {
            view: np.sort(_squared_lengths(views[view])) * self._length_factor for view in self._outlying_views
        }
        self._class_ratios = ClassRatios(reference.calibration, self.sample.probabilities)
        outlying = len(self._outlying_views)
        widths = {
            "embedding": reference.embeddings.shape[1],
            "log_probability": self._whiten[View.LOG_PROBABILITY].shape[1],
            "property": self._whiten[View.PROPERTY].shape[1] if View.PROPERTY in views else 0,
            "lengths": outlying,
            "ratios": outlying + self._class_ratios.count,
            "key": KEY_COLUMNS,
        }
        sketched = widths["embedding"] if self._sketch is None else self._sketch.shape[1]
        self.layout = ColumnLayout.from_widths(widths, whiten_embedding.shape[1], sketched)
        self.groups = self.layout.groups()
        self.ratio_views = [Leading.EMBEDDING, Leading.PROPERTY][:outlying]
        self.ratio_views += [Leading.SOFT_LABEL] * (widths["ratios"] - outlying)
        self._centred = slice(widths["embedding"], self.layout.row["lengths"].stop)
        self._centre = np.zeros(self._centred.stop - self._centred.start, dtype=np.float32)
        self._centre[:] = self.of_reference[:, self._centred].mean(axis=0, dtype=np.float64)
        self.of_reference[:, self._centred] -= self._centre
        self.excess = excess_of_whitening(views[View.EMBEDDING], whiten_embedding.shape[1])
        self.repeat_share = repeat_share(reference.keys)

    def __call__(self, sample: Sample) -> Float32Array:
        """Return the score rows (m, layout.row_width) of predictions."""
        return self._rows(sample, 1.0)

    @property
    def outlying_ratios(self) -> int:
        """The number of ratios that are about outlying predictions; they are the first ones."""
        return len(self._outlying_views)

    @cached_property
    def of_reference(self) -> Float32Array:
        """The score rows (size, layout.row_width) of the reference's own rows."""
        return self._rows(self.sample, self._length_factor)

    @cached_property
    def dispersion(self) -> tuple[FloatArray, FloatArray]:
        """For each group, the variance of the reference's scores summed over its columns, and the effective number of
        independent columns (sum of eigenvalues)² / sum of their squares."""
        wide = self.widen(self.of_reference)
        covariances = [Moments.from_rows(wide[:, group.columns]).covariance for group in self.groups]
        variances = np.array([max(float(np.trace(c)), 1e-12) for c in covariances])
        return variances, variances**2 / np.array([max(float((c * c).sum()), 1e-24) for c in covariances])

    def widen(self, sums: Float32Array) -> Float32Array:
        """Return sums of rows (m, layout.row_width) as block sums (m, layout.block_width)."""
        embedding = sums[:, self.layout.row["embedding"]]
        parts = [row_products(embedding, self._projections)]
        if self._sketch is None:
            parts.append(embedding)
        return np.hstack([*parts, sums[:, self.layout.shared]])

    def _rows(self, sample: Sample, length_factor: float) -> Float32Array:
        part = self.layout.row
        rows = np.empty((len(sample), self.layout.row_width), dtype=np.float32)
        views = {View.EMBEDDING: self._clipped(View.EMBEDDING, sample)}
        rows[:, part["embedding"]] = views[View.EMBEDDING]
        for view, whitening_matrix in self._whiten.items():
            views[view] = self._clipped(view, sample)
            rows[:, part[view]] = _shortened(row_products(views[view], whitening_matrix))
        tails = self._tails(views, length_factor)
        rows[:, part["lengths"]] = special.ndtri(1 - tails)
        rows[:, self._centred] -= self._centre
        ratios = rows[:, part["ratios"]]
        outlying = tails.shape[1]
        ratios[:, :outlying] = np.log(1 - OUTLYING + OUTLYING * OUTLYING_POWER * tails ** (OUTLYING_POWER - 1))
        ratios[:, outlying:] = self._class_ratios(sample.probabilities)
        rows[:, part["key"]] = prediction_keys(sample.embeddings, sample.probabilities)
        return rows

    def _clipped(self, view: View, sample: Sample) -> Float32Array:
        rows = self._views.standardise(view, sample)
        return np.clip(rows, -CLIP, CLIP, out=rows)

    def _tails(self, views: Mapping[View, Float32Array], length_factor: float) -> FloatArray:
        """Return for the embedding and the properties the probability (m, 1 or 2) that a reference row is longer."""
        tails = []
        for view, lengths in self._lengths.items():
            inside = np.searchsorted(lengths, _squared_lengths(views[view]) * length_factor, side="right")
            tails.append((len(lengths) - inside + 0.5) / (len(lengths) + 1))
        return np.stack(tails, axis=1)


def _sketch(d: int) -> Float32Array | None:
    """Return orthonormal random directions (d, MAX_EMBEDDING), or None where there are no more dimensions than that.

    They do not depend on the reference, so that its rows and new ones are projected alike however few it has.
    """
    if d <= MAX_EMBEDDING:
        return None
    normal = np.random.default_rng(SKETCH_SEED).normal(size=(d, MAX_EMBEDDING))
    return np.asarray(np.linalg.qr(normal)[0], dtype=np.float32)


def _shortened(rows: Float32Array) -> Float32Array:
    """Return whitened rows (m, r), those that are longer than all but a thousandth of normal ones made as long."""
    longest = np.float32(special.chdtri(rows.shape[1], LONGER))
    lengths = np.maximum(_squared_lengths(rows), longest)
    return rows * np.sqrt(longest / lengths)[:, None]


def _squared_lengths(rows: Float32Array) -> Float32Array:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))
