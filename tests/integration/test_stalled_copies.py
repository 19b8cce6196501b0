"""A writer that hangs within a COPY: a monitor ends its session, and its rows arrive once."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from tests.support.wait import PATIENCE, until
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.monitor import model_leases
from tidemark.monitor.monitor import Monitor
from tidemark.settings import Settings
from tidemark.store import stalled_copies

ROWS = 20
COPIES = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database()"
WRITER = """
import sys
from uuid import UUID
import numpy as np
from sqlalchemy.exc import OperationalError
from psycopg import OperationalError as DriverError
from tests.support.predictions import new_ids, write
from tidemark.store import engine as engines, log_writer
from tidemark.store.logged import logged

copy_into = log_writer.copy_into

def halting(table, cursor, rows):
    def parts():
        for part in rows:
            yield part[: len(part) // 2]
            print("copying", flush=True)
            sys.stdin.readline()
            yield part[len(part) // 2 :]
    copy_into(table, cursor, parts())

engine = engines.connect(sys.argv[1])
batch = logged("m:1", new_ids(int(sys.argv[2])), np.ones((int(sys.argv[2]), 1)), np.ones((int(sys.argv[2]), 4)), None)
log_writer.copy_into = halting
try:
    with engine.begin() as connection:
        write(connection, batch, spool=UUID(int=1))
except (OperationalError, DriverError):
    print("ended", flush=True)
log_writer.copy_into = copy_into
with engine.begin() as connection:
    print(write(connection, batch, spool=UUID(int=1)), flush=True)
"""


@contextmanager
def halted_writer(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process of which SIGSTOP has halted the forwarder's transaction in the middle of a row."""
    command = [sys.executable, "-c", WRITER, url, str(ROWS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "copying\n"
            process.send_signal(signal.SIGSTOP)
            yield process
        finally:
            process.kill()


def test_a_monitor_ends_the_session_of_a_writer_that_hangs_within_a_copy(
    registered: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(query: str) -> int:
        with registered.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())

    def session_ended() -> bool:
        monitor.poll()
        return one(COPIES) == 0

    monkeypatch.setattr(model_leases, "HOUSEKEEPING", 0.0)
    monkeypatch.setattr(stalled_copies, "STALLED_AFTER", float("inf"))
    monitor = Monitor(Settings(), registered, Alerts(open_queue(""), (), ""), inline=True)
    with halted_writer(url) as writer:
        monitor.poll()
        monitor.poll()
        assert one(COPIES) == 1, "a COPY that has just begun goes on"
        monkeypatch.setattr(stalled_copies, "STALLED_AFTER", 0.0)
        until(session_ended, "the end of the session")
        writer.send_signal(signal.SIGCONT)
        answer, _ = writer.communicate("\n", timeout=PATIENCE)
    assert answer.split() == ["ended", str(ROWS)]
    assert one("SELECT count(*) FROM predictions") == ROWS


def test_copies_of_other_programs_are_left_alone(registered: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalled_copies, "STALLED_AFTER", 0.0)
    copies = stalled_copies.StalledCopies()
    with registered.begin() as connection:
        connection.execute(text("SET LOCAL application_name = 'a restore'"))
        raw = connection.connection.driver_connection
        assert raw is not None
        with raw.cursor().copy("COPY models (name) FROM STDIN"), registered.begin() as observer:
            assert observer.execute(text(COPIES)).scalar_one() == 1
            assert [copies.end(observer), copies.end(observer)] == [0, 0]
        connection.rollback()
