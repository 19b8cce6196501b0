"""Whether a stream is being watched: from explicit columns, against what was accepted for logging."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

State = Literal["watching", "behind", "blind", "warming_up", "no_reference"]

DATABASE = "database"  # reason: this server cannot ask Postgres whether anybody watches
REASONS = (
    DATABASE,
    "no_monitor",
    "monitor_stalled",
    "behind",
    "no_reference",
    "reference_mismatch",
    "rows_rejected",
    "error",
    "self_test",
)
NO_MONITOR_AFTER = 10.0  # seconds that predictions wait while no monitor has the lease of their model
STALLED_AFTER = 60.0  # seconds without a step while predictions wait
BEHIND_AFTER = 60.0  # seconds that the next prediction to be watched has waited
PREPARING = 600.0  # seconds that the first preparation of a reference may take

QUERY = text(
    """
    SELECT s.model_id, s.reference_id, s.state, s.position, s.blind_reason,
        coalesce(e.position, 0) AS written,
        coalesce(w.pending, 0) AS pending,
        coalesce(s.lease_until > now(), false) AS leased,
        EXISTS (SELECT FROM self_tests t WHERE t.reference_id = s.reference_id AND t.reason IS NOT NULL) AS is_broken,
        extract(epoch FROM now() - s.last_success_at)::float8 AS idle_seconds,
        extract(epoch FROM now() - (
            SELECT g.at_from FROM segments g
            WHERE g.model_id = s.model_id AND g.last_position > s.position ORDER BY g.last_position LIMIT 1
        ))::float8 AS waiting_seconds
    FROM streams s
    LEFT JOIN log_ends e ON e.model_id = s.model_id AND e.log = 'predictions'
    LEFT JOIN (
        SELECT model_id, sum(pending)::bigint AS pending FROM writers
        WHERE written_at > now() - interval '1 minute' GROUP BY model_id
    ) w ON w.model_id = s.model_id
    WHERE s.slice = '' AND s.retired_at IS NULL
    """
)


@dataclass(frozen=True)
class Watching:
    """The progress of the monitor with a model's predictions.

    Parameters
    ----------
    state : {"watching", "behind", "blind", "warming_up", "no_reference"}
    reason : str, optional
        Why the model is not watched, or not in time; one of REASONS.
    position : int
        The position of the last prediction watched.
    written : int
        The last position that was accepted for logging, as far as the writers have said.
    """

    state: State
    reason: str | None
    position: int
    written: int

    @property
    def lag(self) -> int:
        """The predictions that were accepted and are not watched."""
        return max(self.written - self.position, 0)

    @property
    def is_blind(self) -> bool:
        """Whether predictions come in that nobody watches, or not in time."""
        return self.state in ("behind", "blind") or (self.state == "no_reference" and self.written > 0)


def of_models(connection: Connection) -> dict[int, Watching]:
    """Return how far each model is watched, by the model's id; its slices are watched with it."""
    return {
        row.model_id: watching(
            has_reference=row.reference_id is not None,
            is_new=row.state == "warming_up",
            position=row.position,
            written=row.written + row.pending,
            blind_reason=row.blind_reason or ("self_test" if row.is_broken else None),
            leased=row.leased,
            idle_seconds=row.idle_seconds,
            waiting_seconds=row.waiting_seconds,
        )
        for row in connection.execute(QUERY)
    }


def watching(
    *,
    has_reference: bool,
    is_new: bool,
    position: int,
    written: int,
    blind_reason: str | None,
    leased: bool,
    idle_seconds: float | None,
    waiting_seconds: float | None,
) -> Watching:
    """Return how far a model is watched.

    Parameters
    ----------
    is_new : bool
        Whether no prediction was watched yet.
    blind_reason : str, optional
        The monitor's own report.
    leased : bool
        Whether a monitor holds the lease of the model.
    idle_seconds : float, optional
        Since the last step of the monitor; None before the first.
    waiting_seconds : float, optional
        Since the time of the next prediction that is to be watched; None if there is none.
    """
    state: State = "warming_up" if is_new else "watching"
    reason = None
    waiting = waiting_seconds or 0.0
    if not has_reference:
        state, reason = "no_reference", "no_reference"
    elif blind_reason is not None:
        state, reason = "blind", blind_reason
    elif written > position and not leased and waiting >= NO_MONITOR_AFTER:
        state, reason = "blind", "no_monitor"
    elif written > position and waiting >= STALLED_AFTER and _is_idle(idle_seconds, waiting):
        state, reason = "blind", "monitor_stalled"
    elif written > position and waiting >= BEHIND_AFTER:
        state, reason = "behind", "behind"
    return Watching(state, reason, position, written)


def _is_idle(idle_seconds: float | None, waiting: float) -> bool:
    """Check whether the monitor has made no step for too long; the first one waits for the reference."""
    return waiting >= PREPARING if idle_seconds is None else idle_seconds >= STALLED_AFTER
