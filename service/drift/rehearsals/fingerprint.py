"""The distribution of a window as one vector, which mixes as windows do."""

import numpy as np

from ..samples import Sample
from ..types import FloatArray
from .features import WindowFeatures

COMPONENTS = 24  # principal components of the embedding that take part
FREQUENCIES = 32  # random frequencies of each view and bandwidth
BANDWIDTHS = (0.7, 2.0)  # bandwidths of the kernels, in root mean square deviations of a view
LOG_OFFSET = 1e-3  # added to a probability before its logarithm
SEED = 0  # seed of the frequencies, which must be the same for rehearsals and windows


class Fingerprint:
    """Mean random Fourier features of embeddings, probabilities and properties.

    The squared distance of two fingerprints approximates the squared maximum mean discrepancy of the samples. The
    fingerprint of a mixture is the mixture of the fingerprints.

    Parameters
    ----------
    features : WindowFeatures
        Features of the reference.
    unchanged : Sample
        The rehearsed images as they are, which set the scale of the probabilities.

    References
    ----------
    Rahimi and Recht (2007), Random features for large-scale kernel machines.
    """

    def __init__(self, features: WindowFeatures, unchanged: Sample) -> None:
        self._features = features
        logs = np.log(features.posterior(unchanged) + LOG_OFFSET)
        self._log_mean, self._log_deviation = logs.mean(axis=0), np.maximum(logs.std(axis=0), 1e-3)
        rng = np.random.default_rng(SEED)
        self._frequencies = [
            [rng.standard_normal((view.shape[1], FREQUENCIES)) / width for width in BANDWIDTHS]
            for view in self._views(unchanged)
        ]

    def __call__(self, sample: Sample) -> FloatArray:
        """Return the fingerprint (P,) of validated predictions."""
        parts = []
        for view, frequencies in zip(self._views(sample), self._frequencies, strict=True):
            for frequency in frequencies:
                angles = view @ frequency
                parts += [np.cos(angles).mean(axis=0), np.sin(angles).mean(axis=0)]
        count = FREQUENCIES * len(BANDWIDTHS) * len(self._frequencies)
        return np.asarray(np.concatenate(parts) / np.sqrt(count))

    def _views(self, sample: Sample) -> list[FloatArray]:
        """Return each view scaled so that an unchanged row has about mean square 1."""
        rows = self._features.space(sample.embeddings)
        logs = (np.log(self._features.posterior(sample) + LOG_OFFSET) - self._log_mean) / self._log_deviation
        views = [self._features.space.components(rows, COMPONENTS), logs / np.sqrt(logs.shape[1])]
        properties = self._features.standardised_properties(sample)
        if properties is not None:
            views.append(np.arcsinh(properties) / np.sqrt(properties.shape[1]))
        return views
