"""The job queue on Postgres, as those use it who only put jobs into it."""

from typing import Any, cast

from procrastinate import App, SyncPsycopgConnector
from procrastinate.types import JSONDict
from sqlalchemy import Connection


def open_queue(conninfo: str) -> App:
    """Return a queue for deferring; it opens no connection of its own as long as each job is given one."""
    return App(connector=SyncPsycopgConnector(conninfo=conninfo))


def defer(queue: App, connection: Connection, task: str, queue_name: str, arguments: dict[str, Any]) -> None:
    """Put a job into the queue within the transaction of `connection`: it exists only if that commits."""
    raw = connection.connection.driver_connection
    queue.configure_task(task, queue=queue_name, connection=raw).defer(**cast(JSONDict, arguments))
