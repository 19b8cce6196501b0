"""Two servers of two workers each and two monitors on one Postgres: clocks apart, a worker killed, a monitor hung."""

import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.support import verify
from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.postgres import WAITING, holding
from tidemark.store.prediction_id import time_of

SERVERS, MONITORS = ("serve-a", "serve-b"), ("monitor-a", "monitor-b")
AHEAD = "+200s"  # of the second server's clock
HANG = 12  # seconds, of the 60 after which a monitor loses its stream
MONITOR = f"import tidemark.server.monitor_process as p; p.IDLE_TRANSACTION_TIMEOUT = {HANG}; p.monitor()"


def shared_metrics(worker: int) -> Path:
    """Return the folder in which the workers of a server add up their metrics."""
    return Path(psutil.Process(worker).environ()["PROMETHEUS_MULTIPROC_DIR"])


def counted(installation: Installation, server: str) -> tuple[float, float, int]:
    """Return predictions and pending rows that a server counts, and the gauges' files, those of dead workers too."""
    with installation.client(server) as client:
        lines = client.get("/metrics").text.splitlines()
    total = sum(float(line.split()[-1]) for line in lines if line.startswith("tidemark_predictions_total{"))
    (pending,) = [float(line.split()[-1]) for line in lines if line.startswith("tidemark_spool_pending ")]
    folder = shared_metrics(installation.workers(server)[0])
    return total, pending, len(list(folder.glob("gauge_livesum_*.db")))


@pytest.mark.slow
def test_replicas_share_the_work_and_each_prediction_counts_once(install: Callable[..., Installation]) -> None:
    installation = install()
    shim = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if shim is None:
        pytest.skip("no libfaketime here (Debian: apt-get install faketime)")
    installation.start("serve-a", workers=2, DATA_DIR=installation.folder / "a")
    clock = ("env", f"LD_PRELOAD={shim}", f"FAKETIME={AHEAD}", "FAKETIME_DONT_FAKE_MONOTONIC=1")
    installation.start("serve-b", workers=2, DATA_DIR=installation.folder / "b", prefix=clock)
    for name in MONITORS:
        installation.start(name, code=MONITOR)
    for name in SERVERS:
        installation.ready(name)
    with Load(installation, SERVERS, ("digits:1", "digits:2")) as load:
        load.more(100)
        installation.until(lambda: installation.stored() > 50, "rows in Postgres")
        with holding(installation.engine, "SELECT pg_current_xact_id()"):
            position = installation.stream("digits:1").seen
            load.more(100)
            further = "the monitor to watch in spite of a transaction that somebody forgot"
            installation.until(lambda: installation.stream("digits:1").seen > position + 30, further)
        kill_a_worker(installation, load)
        hang_a_monitor(installation, load)
        load.kinds["digits:2"] = "covariate"
        installation.until(lambda: installation.one("SELECT count(*) FROM alerts"), "an alert")
    installation.settle("a")
    installation.settle("b")
    folders = [shared_metrics(installation.workers(name)[0]) for name in SERVERS]
    with Load(installation, SERVERS) as last:
        last.more(50)
    for name, folder in zip(SERVERS, folders, strict=True):
        assert installation.stop(name) == 0
        assert not folder.exists()
    assert [installation.spooled(data) for data in ("a", "b")] == [0, 0]
    installation.settle("a")
    verify.predictions_once(installation, [*load.ids, *last.ids])
    verify.evidence_as_undisturbed(installation, "digits:1")
    for model in ("digits:1", "digits:2"):
        verify.windows_once(installation, model)
    verify.alerts_delivered(installation)
    clocks_did_no_harm(installation)
    for name in MONITORS:
        assert installation.stop(name) == 0


def kill_a_worker(installation: Installation, load: Load) -> None:
    """Its spool is adopted, its gauges go, its counts stay, another takes its place."""
    before = counted(installation, "serve-a")[0]
    killed = installation.workers("serve-a")[0]
    psutil.Process(killed).kill()
    installation.until(lambda: len(installation.workers("serve-a")) == 2, "another worker")
    assert killed not in installation.workers("serve-a")
    load.more(50)
    after, _, gauges = counted(installation, "serve-a")
    assert after > before
    assert gauges <= 2
    installation.until(lambda: len(spools(installation, "a")) == 2, "the orphan's adoption")


def spools(installation: Installation, data: str) -> list[Path]:
    return list((installation.folder / data / "spool").glob("*.sqlite"))


def hang_a_monitor(installation: Installation, load: Load) -> None:
    """It loses the stream that it holds, in the middle of a window, to the other; when it wakes it does no harm."""
    with holding(installation.engine, "LOCK TABLE windows IN SHARE ROW EXCLUSIVE MODE"):
        installation.until(lambda: installation.one(WAITING.format("windows")), "a monitor to store a window")
        installation.processes["monitor-a"].send_signal(signal.SIGSTOP)
    position = installation.one("SELECT sum(seen) FROM streams")
    windows = installation.one("SELECT count(*) FROM windows")
    load.more(150)
    installation.until(
        lambda: installation.one("SELECT sum(seen) FROM streams") > position + 100, "the other to take over"
    )
    installation.until(lambda: installation.one("SELECT count(*) FROM windows") > windows, "its windows")
    installation.processes["monitor-a"].send_signal(signal.SIGCONT)
    load.more(100)


def clocks_did_no_harm(installation: Installation) -> None:
    with installation.engine.connect() as connection:
        rows = connection.execute(text("SELECT id, at, tableoid::regclass::text AS day FROM predictions")).all()
        turned = connection.execute(text('SELECT count(*) FROM windows WHERE "end" < start')).scalar_one()
        apart = connection.execute(text('SELECT max("end" - start) FROM windows')).scalar_one()
    assert turned == 0
    assert apart.total_seconds() > 150
    assert all(row.at == time_of(row.id) and row.day == f"predictions_{row.at:%Y%m%d}" for row in rows)
