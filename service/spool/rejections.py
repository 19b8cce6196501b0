"""Why predictions are set aside instead of forwarded."""

from ..store.errors import is_refused, original_error, sqlstate

UNKNOWN_MODEL = "unknown_model"  # the database does not know the model, nor does the spool
OTHER_INSTALLATION = "other_installation"  # the spool belongs to another database; it stays as it is
EXPIRED = "expired"  # the predictions are older than the retention
UNREADABLE = "unreadable"  # the columns of a batch do not fit together
DAMAGED = "damaged"  # SQLite cannot read the file
REFUSED = "refused"  # Postgres takes every other batch, but not this one
REJECTION_REASONS = (UNKNOWN_MODEL, OTHER_INSTALLATION, EXPIRED, UNREADABLE, DAMAGED, REFUSED)

TRANSIENT_REFUSALS = (  # SQLSTATE of refusals that the next attempt resolves
    "23503",  # foreign key: the model was deleted
    "23505",  # unique: another process took the same positions, where Postgres isolates transactions more
    "23514",  # check: the day has no partition yet
)


class UnforwardableError(Exception):
    """Rows that no attempt can forward, for one of the `REJECTION_REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def rejection_reason(error: Exception) -> str | None:
    """Return why an error lets rows be set aside, or None if the next attempt may succeed."""
    if isinstance(error, UnforwardableError):
        return error.reason
    if sqlstate(original_error(error)) in TRANSIENT_REFUSALS:
        return None
    return REFUSED if is_refused(error) or isinstance(error, ValueError) else None
