"""How a baseline's scores depend on their context, where traffic of before tells it and not the baseline itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .context import ContextModel, check_context
from .samples import Sample
from .scores import DetectorScores
from .simulated_traffic import DependentStreams, IndependentStreams, UncertainSlopes
from .types import Float32Array, FloatArray
from .views import LOG_OFFSET
from .window_statistics import BLOCK


@dataclass(frozen=True, eq=False)
class LearntContext:
    """Traffic of before a baseline, from which its dependence on the context is learnt.

    A baseline that holds too little traffic to learn a cycle from, such as a few hours of a drift, takes the cycle from
    traffic of before, and its level from its own rows.

    Parameters
    ----------
    calm : mapping
        Traffic in its own order as `StreamDetector` takes it: with its `context` (n, c), and if need be its `share`.
    context : float (m, c)
        The covariates of the baseline's rows.
    """

    calm: Mapping[str, ArrayLike]
    context: ArrayLike


class LearntSlopes(NamedTuple):
    """The model of a baseline's scores given their context: zero at the baseline's mean context."""

    model: ContextModel
    of_reference: Float32Array  # (m, columns), what the model expects of the baseline's own rows
    path: FloatArray  # (n, c), covariates of the traffic of before in its order, less the baseline's mean
    share: float  # share of the span's predictions that this traffic holds

    @classmethod
    def fit(cls, scores: DetectorScores, learnt: LearntContext) -> "LearntSlopes":
        """Return the slopes of the scores of a baseline.

        Scores are not linear in the predictions: those of the traffic of before are taken at the baseline's level.

        Raises
        ------
        ValueError
            As `Reference.check_complete`; a context that does not fit.
        """
        calm = learnt.calm
        sample = scores.reference.check_complete(calm["embeddings"], calm["probabilities"], calm.get("properties"))
        calm_context = check_context(calm["context"], len(sample))
        context = check_context(learnt.context, len(scores.reference), calm_context.shape[1])
        context = context[scores.reference.fitted_rows]
        columns = _raw_columns(sample)
        expected = ContextModel.fit(calm_context, columns).expected(context)
        columns += _raw_columns(scores.sample).mean(axis=0) - expected.mean(axis=0)
        coefficients = ContextModel.fit(calm_context, scores(_sample_of(columns, sample))).coefficients
        coefficients[0] = 0
        model = ContextModel(context.mean(axis=0), coefficients)
        share = float(np.asarray(calm.get("share", 1.0)))
        return cls(model, model.expected(context), calm_context - model.location, share)

    @property
    def calm_rows(self) -> int:
        """The number of predictions that the slopes were learnt from."""
        return len(self.path)

    def uncertain(
        self, scores: DetectorScores, traffic: IndependentStreams | DependentStreams, rng: np.random.Generator
    ) -> UncertainSlopes:
        """Return simulated traffic without the cycle as such whose slopes are off.

        What a cycle does to the log-probabilities of different classes cancels in part, and cancels otherwise once the
        images have changed. These slopes count as at least as large as those of the other scores are on average.
        """
        path, layout = self.path[::BLOCK], scores.layout
        slopes = scores.widen(self.model.coefficients[1:].astype(np.float32)).astype(np.float64) * BLOCK
        sizes = np.sqrt(np.mean((path @ slopes[:, : layout.grouped]) ** 2, axis=0))
        cancelling = layout.block["log_probability"]
        least = np.sqrt(np.mean(np.delete(sizes, cancelling) ** 2))
        slopes[:, cancelling] *= np.maximum(least / np.maximum(sizes[cancelling], 1e-12), 1)
        return UncertainSlopes(traffic, path, slopes, self.share, rng)


def size_with_context(rows: int, calm_rows: int, covariates: int) -> int:
    """Return how many independent rows a baseline's mean is worth once the error of a regression is added.

    At a context within the calm traffic the variance of what a regression of c covariates on N rows expects is c / N
    of a row's on average, next to the 1 / n of the mean of the baseline's own n rows.
    """
    return max(int(1 / (1 / rows + covariates / calm_rows)), 1)


def _raw_columns(sample: Sample) -> Float32Array:
    """Return embeddings, logarithms of probabilities and properties as columns (m, d + k + p)."""
    parts = [sample.embeddings, np.log(sample.probabilities + np.float32(LOG_OFFSET))]
    return np.hstack(parts if sample.properties is None else [*parts, sample.properties])


def _sample_of(columns: Float32Array, like: Sample) -> Sample:
    """Return the predictions whose raw columns are given, with as many of each as `like` has."""
    d, k = like.embeddings.shape[1], like.probabilities.shape[1]
    probabilities = special.softmax(columns[:, d : d + k], axis=1)
    return Sample(columns[:, :d], probabilities, None if like.properties is None else columns[:, d + k :])
