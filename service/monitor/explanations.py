"""Window tests in the background: by priority, within a share of a core, and isolated from the detector."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine

from ..store.errors import is_unavailable, reason
from ..store.log_batch import PredictionBatch
from ..store.prediction_id import time_of
from .background import URGENT, Background
from .events import Explanation, Purpose, WindowRequest
from .prepared_reference import PreparedReference
from .processor_allowance import RESERVE, ProcessorAllowance
from .rows_in_order import read_in_order
from .window_explanation import explain

MAX_WAITING = 200  # windows that may wait; further ones are skipped
MAX_WAITING_OF_STREAM = 10  # windows of one stream that may wait, so that none is tested long after its traffic
PRIORITIES: Mapping[Purpose, int] = {
    "alarm": 0,
    "further_shift": 0,
    "labels": 0,
    "on_demand": 0,
    "incident": 1,
    "routine": 2,
}
MISSING_PREDICTIONS = "its predictions are no longer in the database"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelExplanation:
    """The answer to a window request of one of a model's streams."""

    model_id: int
    explanation: Explanation


@dataclass(frozen=True)
class PostponedTest:
    """A window that could not be read, since the database is unavailable; it is tested later."""

    model_id: int
    request: WindowRequest
    prepared: PreparedReference


class Explanations:
    """Tests windows one after the other.

    Windows for alarms, and those that people request, are always tested; the others while the processor time of all of
    them stays within `ProcessorAllowance`, else they are answered as skipped. Windows of calm traffic leave a part of
    it to those of incidents. While other processes want the processor, the thread rests after each of the others. A
    window that cannot be read while the database is unavailable is submitted again at the next call of `collect`, which
    the monitor makes once it has reached the database.

    Parameters
    ----------
    unlimited : bool, default False
        Whether no window is skipped, and all are tested in the caller's thread.
    """

    def __init__(self, engine: Engine, unlimited: bool = False) -> None:
        self._engine = engine
        self.unlimited = unlimited
        self._background: Background[ModelExplanation | PostponedTest] = Background("window-tests", inline=unlimited)
        self._outstanding: set[tuple[int, str, str, int, int]] = set()  # requests of models without an answer
        self._allowance = ProcessorAllowance()
        self.seconds = 0.0  # processor time of all tests

    def submit(self, model_id: int, request: WindowRequest, prepared: PreparedReference) -> None:
        """Have a window tested against a baseline, unless it is being tested already."""
        key = model_id, *request.key
        if key in self._outstanding:
            return
        self._outstanding.add(key)
        priority = PRIORITIES[request.purpose]
        if priority > URGENT and not self.unlimited and self._is_full(model_id, request.slice):
            self._background.submit(lambda: ModelExplanation(model_id, _skipped_explanation(request)), priority=-1)
        else:
            self._background.submit(lambda: self._explain(model_id, request, prepared), priority)

    def _is_full(self, model_id: int, slice_name: str) -> bool:
        """Check whether so many windows wait, of all streams or of one, that further ones are skipped."""
        of_stream = sum(key[:2] == (model_id, slice_name) for key in self._outstanding)
        return len(self._background) >= MAX_WAITING or of_stream > MAX_WAITING_OF_STREAM

    def collect(self) -> list[ModelExplanation]:
        """Return the answers since the last call; submit again what was postponed."""
        answers = []
        for answer in self._background.collect():
            request = answer.request if isinstance(answer, PostponedTest) else answer.explanation.request
            self._outstanding.discard((answer.model_id, *request.key))
            if isinstance(answer, PostponedTest):
                self.submit(answer.model_id, answer.request, answer.prepared)
            else:
                answers.append(answer)
        return answers

    @property
    def idle(self) -> bool:
        """Whether no window waits and no answer is to be collected."""
        return self._background.idle

    def _explain(
        self, model_id: int, request: WindowRequest, prepared: PreparedReference
    ) -> ModelExplanation | PostponedTest:
        if not self._may_test(request.purpose):
            return ModelExplanation(model_id, _skipped_explanation(request))
        started, cpu_start = time.perf_counter(), time.thread_time()
        start, end = (time_of(UUID(bytes=request.ids[row].tobytes())) for row in (0, -1))
        try:
            batch = self._read(model_id, request, prepared)
            report = explain(prepared, batch)
            start, end = batch.span
            explanation = Explanation(request, report, start, end, time.perf_counter() - started)
        except Exception as error:
            if is_unavailable(error):
                return PostponedTest(model_id, request, prepared)
            logger.warning("a window of model %d could not be tested", model_id, exc_info=True)
            explanation = Explanation(request, None, start, end, time.perf_counter() - started, error=reason(error))
        cpu_seconds = time.thread_time() - cpu_start
        self._allowance.spend(cpu_seconds)
        self.seconds += cpu_seconds
        return ModelExplanation(model_id, explanation)

    def _read(self, model_id: int, request: WindowRequest, prepared: PreparedReference) -> PredictionBatch:
        """Return the window's predictions in the order of the stream."""
        with self._engine.connect() as connection:
            batch = read_in_order(connection, model_id, request.ids, prepared.reference)
        if batch is None:
            raise LookupError(MISSING_PREDICTIONS)
        return batch

    def _may_test(self, purpose: Purpose) -> bool:
        if self.unlimited or PRIORITIES[purpose] == URGENT:
            return True
        return self._allowance.permits(reserve=RESERVE if purpose == "routine" else 0.0)


def _skipped_explanation(request: WindowRequest) -> Explanation:
    start, end = (time_of(UUID(bytes=request.ids[row].tobytes())) for row in (0, -1))
    return Explanation(request, None, start, end, skipped=True)
