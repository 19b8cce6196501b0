"""Which baselines the streams of a model are compared with at each time of a replay."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from ...monitor.model_state import REFERENCE, WHOLE
from ...monitor.prepared_reference import BaselineKey
from ...store.baseline_history import BaselinePeriod
from .variants import Baseline


@dataclass(frozen=True)
class BaselineSchedule:
    """The baselines of a model's streams over time.

    Parameters
    ----------
    reference_id : int
        The model's reference.
    periods : sequence of BaselinePeriod
        Calibrations and accepted baselines in the order in which they began.
    choice : {"history", "now", "reference"}
        What streams are compared with.
    """

    reference_id: int
    periods: Sequence[BaselinePeriod]
    choice: Baseline

    def keys_at(self, moment: dt.datetime) -> dict[str, BaselineKey]:
        """Return what each stream is compared with at a time: that of the whole model, and of slices with their own."""
        keys = {REFERENCE: BaselineKey(self.reference_id), WHOLE: BaselineKey(self.reference_id)}
        if self.choice == "reference":
            return keys
        for period in self.periods:
            if period.until_time is None if self.choice == "now" else period.applies_at(moment):
                key = keys.get(period.slice, BaselineKey(period.reference_id))
                keys[period.slice] = key._replace(
                    calibration_id=period.calibration_id or key.calibration_id,
                    baseline_id=period.baseline_id or key.baseline_id,
                )
        return keys

    def changes_between(self, since: dt.datetime, until: dt.datetime) -> list[dt.datetime]:
        """Return the times after `since` and before `until` at which a stream got another baseline."""
        if self.choice != "history":
            return []
        times = {period.from_time for period in self.periods} | {
            period.until_time for period in self.periods if period.until_time is not None
        }
        return sorted(moment for moment in times if since < moment < until)
