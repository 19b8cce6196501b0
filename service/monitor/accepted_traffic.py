"""What accepted traffic makes of a reference, and how its predictions are expected to depend on their context."""

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from ..drift import LearntContext, Reference
from ..drift.detector_simulation import MIN_CALM_ROWS
from ..store.baselines import AcceptedTraffic
from ..store.calibrations import Calm
from ..store.prediction_id import times_of
from ..store.tag_codes import decode_tags
from .context_columns import ContextColumns, Tags, Times
from .missing_properties import fill_missing


@dataclass(frozen=True, eq=False)
class BaselineContext:
    """How the detector of an accepted baseline learns what is normal.

    Parameters
    ----------
    columns : ContextColumns, optional
        The covariates on which depends what is normal; None where it does not.
    calm : dict, optional
        Traffic in its own order that the null distribution is drawn from, with its `context` (n, c) if there are
        covariates.
    learnt : LearntContext, optional
        Instead of `calm`: traffic of before the baseline, which tells how predictions depend on the covariates.
    """

    columns: ContextColumns | None = None
    calm: dict[str, ArrayLike] | None = None
    learnt: LearntContext | None = None

    @property
    def traffic_in_context(self) -> dict[str, ArrayLike] | None:
        """The traffic with covariates that what is normal was learnt from, or None."""
        if self.learnt is not None:
            return dict(self.learnt.calm)
        return None if self.columns is None else self.calm


def accepted_reference(reference: Reference, accepted: AcceptedTraffic) -> Reference:
    """Return the baseline that accepted traffic makes of a reference.

    Predictions of the traffic without image properties get those of rows of the reference, as in the monitor.
    """
    arrays = accepted.arrays
    properties = fill_missing(reference, arrays["ids"], arrays.get("properties"))
    return reference.accept(arrays["embeddings"], arrays["probabilities"], properties, accepted.what)


def baseline_context(
    reference: Reference, accepted: AcceptedTraffic, before: Calm | None, tag_keys: Sequence[str]
) -> BaselineContext:
    """Return how predictions of an accepted baseline are expected to depend on their context.

    Traffic of two days or more tells what is normal at each hour by itself. Of less, such as the hours since a change,
    the level is taken from the accepted traffic, and the cycle around it from the traffic that was declared calm
    before. A mix that was accepted is one of the reference's images, so that only the bursts of calm traffic apply.

    Parameters
    ----------
    before : Calm, optional
        The traffic of the stream that was declared calm, if any was.
    tag_keys : sequence of str
        Keys of the tags that may be covariates.
    """
    if accepted.what == "mix":
        has_bursts = before is not None and "context" not in before.traffic
        return BaselineContext(calm=dict(before.traffic) if before is not None and has_bursts else None)
    stored = accepted.calibration
    if stored is not None and "context_location" not in stored:
        return BaselineContext()  # The calibration was made without a context, and goes on being used.
    times, tags = times_of(accepted.arrays["ids"]), decode_tags(accepted.arrays, len(accepted.arrays["ids"]))
    of_accepted = ContextColumns.of_traffic(times, tags, tag_keys) if len(times) >= MIN_CALM_ROWS else None
    of_calm = None if before is None else ContextColumns.from_arrays(before.calibration)
    if before is not None and of_calm is not None and (of_accepted is None or not of_accepted.harmonics):
        return BaselineContext(of_calm, learnt=LearntContext(before.traffic, of_calm.values(times, tags)))
    if of_accepted is None:
        return BaselineContext()
    columns = of_accepted if stored is None else ContextColumns.from_arrays(stored) or of_accepted
    return BaselineContext(columns, calm=_calm(reference, accepted, columns, times, tags))


def _calm(
    reference: Reference, accepted: AcceptedTraffic, columns: ContextColumns, times: Times, tags: Tags
) -> dict[str, ArrayLike]:
    """Return accepted traffic with its covariates as the calm traffic that the detector is calibrated on."""
    arrays = accepted.arrays
    calm: dict[str, ArrayLike] = {
        "embeddings": arrays["embeddings"],
        "probabilities": arrays["probabilities"],
        "context": columns.values(times, tags),
        "share": arrays.get("share", 1.0),
    }
    properties = fill_missing(reference, arrays["ids"], arrays.get("properties"))
    if properties is not None:
        calm["properties"] = properties
    return calm
