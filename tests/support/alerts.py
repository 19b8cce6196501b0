"""Alerts as the monitor raises them, and the worker that delivers them."""

import asyncio
import base64
import datetime as dt
from collections.abc import Callable

from procrastinate import App, PsycopgConnector
from sqlalchemy import Engine

from tests.support.wait import until
from tidemark.alerts import delivery
from tidemark.alerts.alert_draft import AlertDraft
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.setting_types import WebhookReceiver
from tidemark.store import alerts, deliveries
from tidemark.store.engine import conninfo
from tidemark.store.report_json import WindowReportJson

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
REPORT: WindowReportJson = {
    "size": 500,
    "p_value": 0.001,
    "drifted": True,
    "kind": "covariate",
    "summary": "Images are darker <than> in training",
}
NOW = dt.datetime.now(dt.UTC)


def fire(
    engine: Engine,
    url: str,
    stream_id: int,
    receivers: list[WebhookReceiver],
    commit: bool = True,
    at: dt.datetime = NOW,
    report: WindowReportJson = REPORT,
) -> None:
    raiser = Alerts(open_queue(conninfo(url)), receivers, "http://tidemark.example")
    with engine.connect() as connection:
        transaction = connection.begin()
        raiser.fire(connection, AlertDraft(stream_id, at, "covariate", at, 7, report))
        transaction.commit() if commit else transaction.rollback()


def work(engine: Engine, url: str, secret: str | None = SECRET) -> None:
    """Run a real worker until the queue holds nothing that is due."""

    async def once() -> None:
        app = App(connector=PsycopgConnector(conninfo=conninfo(url), min_size=1, max_size=4))
        delivery.register(app, engine, secret)
        async with app.open_async():
            await app.run_worker_async(wait=False, delete_jobs="always", install_signal_handlers=False)

    asyncio.run(once())


def delivered(engine: Engine) -> list[tuple[str, int, int | None]]:
    with engine.connect() as connection:
        ids = [row.id for row in alerts.newest(connection)]
        return [(row.outcome, row.attempts, row.last_status) for row in deliveries.of_alerts(connection, ids)]


def work_until(engine: Engine, url: str, is_complete: Callable[[], bool]) -> None:
    """Run the worker of deliveries as the monitor does until `is_complete`."""

    async def run() -> None:
        app = App(connector=PsycopgConnector(conninfo=conninfo(url), min_size=2, max_size=6))
        delivery.register(app, engine, SECRET)
        async with app.open_async():
            worker = asyncio.create_task(
                app.run_worker_async(
                    queues=[delivery.QUEUE],
                    concurrency=delivery.CONCURRENCY,
                    fetch_job_polling_interval=0.1,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=0.1,
                )
            )
            try:
                await asyncio.to_thread(until, is_complete, "the deliveries")
            finally:
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)

    asyncio.run(run())
