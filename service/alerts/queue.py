"""The job queue on Postgres, for processes that only put jobs into it."""

import datetime as dt

from procrastinate import App, SyncPsycopgConnector
from procrastinate.types import JSONDict
from sqlalchemy import Connection

from ..store.raw_connection import raw


def open_queue(conninfo: str) -> App:
    """Return a queue for deferring; it opens no connection of its own as long as each job is given one."""
    return App(connector=SyncPsycopgConnector(conninfo=conninfo))


def defer(
    queue: App,
    connection: Connection,
    task: str,
    queue_name: str,
    arguments: JSONDict,
    *,
    lock: str | None = None,
    at: dt.datetime | None = None,
) -> None:
    """Put a job into the queue within the transaction of `connection`: it exists only if that commits.

    Parameters
    ----------
    lock : str, optional
        Jobs of one lock run one after the other in the order in which they were deferred, retries included.
    at : datetime, optional
        The time before which the job does not start; at once by default.
    """
    job = queue.configure_task(task, queue=queue_name, connection=raw(connection), lock=lock, schedule_at=at)
    job.defer(**arguments)
