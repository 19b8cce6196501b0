"""What the sampling of a window and of the rehearsed images makes of an estimated accuracy."""

import numpy as np

from ..samples import Sample
from ..types import IntArray

NORMAL_QUANTILE_90 = 1.645  # standard deviations of a two-sided interval of 90 %


class ImageSampling:
    """The sampling error of the accuracy on a window, next to that on rehearsed images.

    Errors on left-out rehearsals, which give the intervals, are those of the same images, so that they hold the
    sampling of one window of these images. The accuracy on a window of few classes follows from the rehearsed images of
    these classes alone, of which there are few: that is not among those errors.

    Parameters
    ----------
    labels : int (I,)
        True classes of the rehearsed images.
    classes : int
        Number of classes k.
    """

    def __init__(self, labels: IntArray, classes: int) -> None:
        self._images = len(labels)
        self._by_class = np.maximum(np.bincount(labels, minlength=classes), 1)

    def half_width(self, variance: float, sample: Sample, is_recreated: bool) -> float:
        """Return half the 90 % interval.

        Parameters
        ----------
        variance : float
            Variance of one image: of an accuracy a, a (1 - a).
        sample : Sample
            The window.
        is_recreated : bool
            Whether the interval is that of recreations, which are compared with rehearsals of the same images that
            differ little otherwise, so that their errors hold none of the sampling.
        """
        window = max(1 / len(sample) - (0 if is_recreated else 1 / self._images), 0)
        classes = max(self._class_error(sample) - 1 / self._images, 0)
        return NORMAL_QUANTILE_90 * float(np.sqrt((window + classes) * variance))

    def _class_error(self, sample: Sample) -> float:
        """Return the variance of the rehearsed images' mean at a window's class shares, where that of one image is 1.

        The shares are those of the predicted classes. Their squares come from pairs of different rows, which are free
        of the shares' own sampling error.
        """
        rows = len(sample)
        counts = np.bincount(sample.probabilities.argmax(axis=1), minlength=len(self._by_class))
        pairs = counts * (counts - 1) / max(rows * (rows - 1), 1)
        return float((pairs / self._by_class).sum())
