"""Postgres away under load in every way it can be: answers go on, the spool grows and drains, nothing is lost."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import psutil
import psycopg
import pytest

from tests.support import verify
from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.postgres import SeparatePostgres
from tidemark.store.engine import conninfo

OTHERS = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name NOT IN ('hog', 'admin')"
QUICK, SLOW = 1.0, 60.0  # seconds away, besides the time of the checks meanwhile
REFUSED = 10  # attempts in a row, with nobody else there, after which all places are taken
EVIDENCE = "tidemark_drift_evidence{"
BLIND = 'tidemark_stream_blind{model="digits",reason="database",slice="",version="1"} 1.0'
BOUNDED = 30.0  # seconds of an answer on a busy machine; one that waits for the database never comes
UNAVAILABLE = "unavailable: predictions wait in the spool"
SILENT = "does not answer: predictions wait in the spool"
READ_ONLY = "read-only: predictions wait in the spool"


@contextmanager
def stopped(postgres: SeparatePostgres) -> Iterator[None]:
    postgres.signal(signal.SIGINT)
    try:
        yield
    finally:
        postgres.start()


@contextmanager
def read_only(postgres: SeparatePostgres) -> Iterator[None]:
    postgres.set("default_transaction_read_only", "on")
    try:
        yield
    finally:
        postgres.set("default_transaction_read_only", None)


@contextmanager
def out_of_connections(postgres: SeparatePostgres) -> Iterator[None]:
    """End everybody's sessions and take all the places there are."""
    url = conninfo(postgres.url)
    with ExitStack() as stack:
        admin = stack.enter_context(psycopg.connect(url, application_name="admin", autocommit=True))
        refused = 0
        while refused < REFUSED:  # a session that is ending holds its place a moment longer
            try:
                stack.enter_context(psycopg.connect(url, application_name="hog"))
                refused = 0
            except psycopg.OperationalError:
                others = admin.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}").fetchall()
                refused = 0 if others else refused + 1
                time.sleep(0.05)
        yield


@contextmanager
def hanging(postgres: SeparatePostgres) -> Iterator[None]:
    """Stop all of its processes where they are: connections stay, nothing answers."""
    postmaster = psutil.Process(postgres.pid)
    processes = [postmaster, *postmaster.children()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def terminate(postgres: SeparatePostgres) -> None:
    """Leave every pool with sessions that are gone, as a failover does."""
    postgres.run(f"SELECT pg_terminate_backend(pid) {OTHERS} AND pid <> pg_backend_pid()")


def check_meanwhile(client: httpx.Client, database: str) -> None:
    """What the server says of itself, and how it answers what needs the database."""
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert (ready.json()["database"], ready.json()["spool"]) == (database, "accepting")
    metrics = client.get("/metrics")
    assert metrics.status_code == 200
    assert value(metrics.text, "tidemark_spool_pending") > 0
    assert client.get("/healthz").status_code == 200
    readable = database == READ_ONLY
    assert (EVIDENCE in metrics.text) == readable
    assert value(metrics.text, "tidemark_database_available") == readable
    assert (BLIND in metrics.text) != readable
    page = client.get("/", headers={"accept": "text/html"})
    assert (page.status_code, "digits:1" in page.text) == (200 if readable else 503, True)
    for path in ("/drift", "/alerts", "/"):
        answer = client.get(path)
        assert answer.status_code == (200 if readable else 503), path
        if not readable:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
            assert "Traceback" not in answer.text


def check_while_it_hangs(client: httpx.Client) -> None:
    """The server answers what it is probed and scraped for in time, however often, and says what hangs."""
    for _ in range(30):  # more than there are connections and threads
        start = time.monotonic()
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["database"]) == (200, SILENT)
        assert time.monotonic() - start < BOUNDED
        client.get("/metrics").raise_for_status()
        client.get("/healthz").raise_for_status()
    metrics = client.get("/metrics")
    assert metrics.status_code == 200
    assert value(metrics.text, "tidemark_spool_pending") > 0
    assert EVIDENCE not in metrics.text
    assert BLIND in metrics.text


def value(metrics: str, name: str) -> float:
    return sum(float(line.split()[1]) for line in metrics.splitlines() if line.startswith(f"{name} "))


@contextmanager
def under_load(install: Callable[..., Installation]) -> Iterator[tuple[Installation, Load, httpx.Client]]:
    """Give an installation that is asked and watched; afterwards check that nothing was lost or counted twice."""
    installation = install()
    installation.start("serve")
    installation.start("monitor")
    installation.ready()
    with Load(installation) as load, installation.client() as client:
        load.more(100)
        installation.until(lambda: EVIDENCE in client.get("/metrics").text, "the monitor's first step")
        yield installation, load, client
    assert set(load.statuses) == {200}
    installation.settle()
    verify.predictions_once(installation, load.ids)
    verify.windows_once(installation, "digits:1")
    verify.evidence_as_undisturbed(installation, "digits:1")
    assert "Traceback" not in installation.log("serve").read_text()


@pytest.mark.parametrize("seconds", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_predictions_continue_while_postgres_is_unavailable(
    install: Callable[..., Installation], postgres: SeparatePostgres, seconds: float
) -> None:
    with under_load(install) as (installation, load, client):
        for outage, database in ((stopped, UNAVAILABLE), (read_only, READ_ONLY), (out_of_connections, UNAVAILABLE)):
            with outage(postgres):
                load.more(50)
                before = installation.spooled()
                end = time.monotonic() + seconds
                check_meanwhile(client, database)
                while time.monotonic() < end:
                    load.more(20)
                assert installation.spooled() > before
            installation.until(lambda: installation.spooled() < 50, "the spool to drain")
            terminate(postgres)
            load.more(20)
    verify.alerts_delivered(installation, at_least=0)
    assert installation.processes["monitor"].poll() is None


def test_predictions_continue_while_postgres_hangs(
    install: Callable[..., Installation], postgres: SeparatePostgres
) -> None:
    with under_load(install) as (installation, load, client):
        with hanging(postgres):
            load.more(50)
            check_while_it_hangs(client)
            load.more(50)
            assert installation.spooled() >= 100
        installation.until(lambda: client.get("/readyz").json()["database"] == "current", "the database to answer")
        installation.until(lambda: EVIDENCE in client.get("/metrics").text, "the drift metrics")
        load.more(20)
