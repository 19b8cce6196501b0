"""Everything that is computed once per baseline: scores and calibration of the detector, and the window test."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..drift import DetectorScores, Reference, StreamDetector, WindowTest
from ..drift.label_clusters import ClusterScale
from ..drift.neighbours import Neighbours
from .context_columns import ContextColumns

SEED = 0
LEVEL = 0.01  # level at which a single window is called drifted; alarms are the detector's


class BaselineKey(NamedTuple):
    """What a stream is compared with: a reference, traffic that was declared calm, traffic that was accepted."""

    reference_id: int
    calibration_id: int | None = None
    baseline_id: int | None = None


@dataclass(frozen=True, eq=False)
class PreparedReference:
    """A baseline with its fitted scores and its calibration; the window test is prepared at its first use.

    Parameters
    ----------
    key : BaselineKey
    reference : Reference
    scores : DetectorScores
        They serve every detector of the baseline, so that a prediction of a model and its slices is scored once.
    calibration : mapping
        The calibration of the sequential detector.
    make_test : callable
        Returns the window test.
    thumbnails : tuple of int
        The rows of the reference that can be shown.
    context : ContextColumns, optional
        The covariates on which depends what is normal, where the calibration learnt that.
    calm : mapping, optional
        The traffic that it learnt that from, with its `context` (n, c).
    """

    key: BaselineKey
    reference: Reference
    scores: DetectorScores
    calibration: Mapping[str, ArrayLike]
    make_test: Callable[[], WindowTest]
    thumbnails: tuple[int, ...] = ()
    context: ContextColumns | None = None
    calm: Mapping[str, ArrayLike] | None = None

    @property
    def reference_id(self) -> int:
        """The id of the stored reference."""
        return self.key.reference_id

    @property
    def labelled(self) -> Reference | None:
        """The reference with true labels that labels are compared with; None if the labels are not known."""
        source = self.reference.labelled
        return None if source.labels is None else source

    @property
    def nbytes(self) -> int:
        """The memory that the arrays need, without that of the window test."""
        arrays = [self.reference.embeddings, self.reference.probabilities, self.scores.of_reference]
        if self.calm is not None:
            arrays += [np.asarray(self.calm["embeddings"]), np.asarray(self.calm["probabilities"])]
        return sum(values.nbytes for values in arrays)

    @property
    def test(self) -> WindowTest:
        """The window test against the baseline; the first use takes seconds."""
        self._times["test_used_at"] = time.monotonic()
        return self._test

    @property
    def has_test(self) -> bool:
        """Whether the window test is ready."""
        return "_test" in self.__dict__

    @property
    def test_used_at(self) -> float:
        """The monotonic time of the window test's last use, 0 before the first one."""
        return self._times.get("test_used_at", 0.0)

    def forget_test(self) -> None:
        """Give the memory of the window test back; its next use prepares it again."""
        self.__dict__.pop("_test", None)

    @cached_property
    def _test(self) -> WindowTest:
        return self.make_test()

    @cached_property
    def _times(self) -> dict[str, float]:
        return {}

    @cached_property
    def cluster_scale(self) -> ClusterScale:
        """The distances of predictions of the same image, or of the same object."""
        return ClusterScale.from_reference(self.reference.labelled)

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """The search for reference rows that look like a prediction, where the reference keeps thumbnails."""
        return Neighbours(self.reference, np.array(self.thumbnails)) if self.thumbnails else None

    def detector(self, expected_run_time: float) -> StreamDetector:
        """Return a detector that has processed nothing."""
        return StreamDetector(
            self.reference,
            expected_run_time=expected_run_time,
            seed=SEED,
            calibration=self.calibration,
            scores=self.scores,
        )

    def restore_detector(self, expected_run_time: float, state: Mapping[str, ArrayLike]) -> StreamDetector:
        """Return the detector that gave a state without its calibration.

        Raises
        ------
        ValueError
            The state is of other scores.
        """
        whole = {**self.calibration, **state, "expected_run_time": np.asarray(expected_run_time)}
        return StreamDetector.restore(self.reference, whole, scores=self.scores)
