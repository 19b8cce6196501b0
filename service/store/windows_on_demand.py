"""Window tests that people request: at most one at a time, for each takes some processor seconds of a monitor."""

import datetime as dt

from sqlalchemy import Connection, text

EXPIRES = 120.0  # seconds after which a request that no monitor has answered is given up
REQUEST_LOCK = 0x71E2  # advisory lock: two requests at once cannot both find that there is no other
LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
REQUEST = text(
    """
    UPDATE streams SET window_requested_at = now()
    WHERE id = :id AND NOT EXISTS (
        SELECT FROM streams WHERE window_requested_at > now() - make_interval(secs => :seconds)
    )
    RETURNING window_requested_at
    """
)


def request(connection: Connection, stream_id: int) -> dt.datetime | None:
    """Request a test of a stream's newest predictions; return the time of the request, None while another one waits."""
    connection.execute(LOCK, {"lock": REQUEST_LOCK})
    at: dt.datetime | None = connection.execute(REQUEST, {"id": stream_id, "seconds": EXPIRES}).scalar_one_or_none()
    return at
