"""What a sequential detector has measured on its stream: its evidence, the change, and how the stream varies."""

from .detector_calibration import DetectorCalibration
from .stream_processor import StreamProcessor
from .views import Leading


class DetectorReadings:
    """The read-only properties of a detector; none of them changes it."""

    _calibration: DetectorCalibration
    _processor: StreamProcessor

    @property
    def count(self) -> int:
        """The number of predictions processed."""
        return self._processor.state.count

    @property
    def evidence(self) -> float:
        """The detection statistic after the last block of ten predictions, in nats."""
        return max(self._processor.state.evidence, self._processor.repeats.evidence)

    @property
    def drift_detected(self) -> bool:
        """Whether the evidence has passed the threshold since the last `reset`."""
        return self._processor.state.drift_detected

    @property
    def leading(self) -> Leading | None:
        """The component that carries the evidence of the alarm; None before it."""
        return self._processor.state.leading

    @property
    def overdispersed(self) -> bool:
        """Whether a stream without declared calm traffic varies more than independent predictions, so that it alarms
        falsely more often than asked."""
        return not self._calibration.calibrated and self._processor.dispersion.overdispersed

    @property
    def design_effect(self) -> float:
        """The number of predictions that count as one independent one, at the time scale where it is the largest.

        It is 1 until it is known.
        """
        return self._processor.dispersion.design_effect

    @property
    def follows_hour(self) -> bool:
        """Whether the scores of a stream without declared calm traffic follow the hour of the day."""
        return not self._calibration.calibrated and self._processor.cycle.follows_hour

    @property
    def repeat_share(self) -> float:
        """The share of the last 5,000 predictions whose embedding came before."""
        return self._processor.repeats.share

    @property
    def context_columns(self) -> int:
        """The number of covariates that `update` requires; 0 where calm traffic was declared without a context."""
        return 0 if self._calibration.context is None else len(self._calibration.context.location)

    @property
    def baseline_rows(self) -> int:
        """The number of predictions that the baseline was estimated from."""
        return self._calibration.size

    @property
    def change_point(self) -> int | None:
        """The number of predictions seen before the change, by the largest likelihood; None before an alarm."""
        change = self._processor.state.change
        return change.best if change else None

    @property
    def change_range(self) -> tuple[int, int] | None:
        """The numbers of predictions between which the change lies; None before an alarm."""
        change = self._processor.state.change
        return (change.earliest, change.latest) if change else None
