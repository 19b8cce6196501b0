"""SIGKILL and SIGSTOP of every process, at its worst moment and at random ones: nothing is lost or counted twice."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from tests.support import verify
from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.postgres import WAITING, SeparatePostgres, holding
from tidemark.spool import ring
from tidemark.store.prediction_id import ID_BYTES

Strike = Callable[[Installation, SeparatePostgres], None]
MODELS = ("digits:1", "digits:2")
MAX_PAUSE = 2.5  # seconds between two strikes
HALT = 0.5  # seconds that a process is stopped
COMMITTING = """
SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE wait_event = 'SyncRep' AND relation = 'segments'::regclass AND mode = 'RowExclusiveLock'
"""
ROUNDS = int(os.environ.get("TIDEMARK_TEST_ROUNDS", "200"))


def kill_server(installation: Installation, _: SeparatePostgres) -> None:
    installation.kill("serve")
    installation.start("serve")


def kill_monitor(installation: Installation, _: SeparatePostgres) -> None:
    installation.kill("monitor")
    installation.start("monitor")


def halt(installation: Installation, name: str) -> None:
    """Stop a process and its children where they are for some time, as a machine that hangs."""
    leader = psutil.Process(installation.processes[name].pid)
    processes = [leader, *leader.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    time.sleep(HALT)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def halt_server(installation: Installation, _: SeparatePostgres) -> None:
    halt(installation, "serve")


def halt_monitor(installation: Installation, _: SeparatePostgres) -> None:
    halt(installation, "monitor")


def halt_backend(_: Installation, postgres: SeparatePostgres) -> None:
    """SIGSTOP of a session's process for some time."""
    postgres.await_up()
    pids = postgres.run(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidemark' ORDER BY query_start DESC"
    )
    if pids:
        os.kill(pids[0][0], signal.SIGSTOP)
        time.sleep(HALT)
        os.kill(pids[0][0], signal.SIGCONT)


def kill_postmaster(_: Installation, postgres: SeparatePostgres) -> None:
    postgres.signal(signal.SIGKILL)
    postgres.start()


def kill_backend(_: Installation, postgres: SeparatePostgres) -> None:
    """SIGKILL a session's process: the postmaster ends all others and recovers."""
    postgres.await_up()
    pids = postgres.run(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidemark' ORDER BY query_start DESC"
    )
    if pids:
        os.kill(pids[0][0], signal.SIGKILL)


def kill_server_between_commit_and_discard(installation: Installation, postgres: SeparatePostgres) -> None:
    """Kill the server while rows are committed, before it can delete them from its spool."""
    postgres.await_up()
    installation.until(lambda: is_killed_after_commit(installation, postgres), "a commit of rows that the spool holds")


def is_killed_after_commit(installation: Installation, postgres: SeparatePostgres) -> bool:
    """Let commits wait for a standby that does not exist, kill the server in one; return whether its rows are there."""
    postgres.set("synchronous_standby_names", "nobody")
    try:
        installation.until(lambda: installation.one(COMMITTING), "a commit of predictions")
        installation.kill("serve")
    finally:
        postgres.set("synchronous_standby_names", None)
    installation.until(lambda: not installation.one(COMMITTING), "the end of the commit")
    spools = (installation.folder / "data" / "spool").glob("*.sqlite")
    pending = [batch.columns.ids[:ID_BYTES].hex() for spool in spools for batch in ring.pending_batches(spool)]
    committed = installation.one(f"SELECT count(*) FROM predictions WHERE id = ANY ('{{{','.join(pending)}}}')")
    installation.start("serve")
    return bool(committed)


def kill_server_in_copy(installation: Installation, postgres: SeparatePostgres) -> None:
    """Keep the forwarder waiting inside its transaction, and kill the server there."""
    postgres.await_up()
    with holding(installation.engine, "LOCK TABLE predictions IN SHARE ROW EXCLUSIVE MODE"):
        installation.until(lambda: installation.one(WAITING.format("predictions")), "the forwarder to write")
        installation.kill("serve")
    installation.start("serve")


def kill_monitor_in_transaction(installation: Installation, postgres: SeparatePostgres) -> None:
    """Keep a monitor waiting after it has computed a window, before it commits, and kill it there."""
    postgres.await_up()
    with holding(installation.engine, "LOCK TABLE windows IN SHARE ROW EXCLUSIVE MODE"):
        installation.until(lambda: installation.one(WAITING.format("windows")), "the monitor to store a window")
        installation.kill("monitor")
    installation.start("monitor")


DIRECTED: tuple[Strike, ...] = (
    kill_server_between_commit_and_discard,
    kill_server_in_copy,
    kill_monitor_in_transaction,
    kill_backend,
    kill_postmaster,
)
RANDOM: tuple[Strike, ...] = (
    kill_server,
    kill_monitor,
    kill_backend,
    kill_postmaster,
    halt_server,
    halt_monitor,
    halt_backend,
)


def settled(installation: Installation, load: Load) -> None:
    installation.settle()
    verify.predictions_once(installation, load.ids)
    for model in MODELS:
        verify.windows_once(installation, model)
    verify.alerts_delivered(installation)
    verify.evidence_as_undisturbed(installation, "digits:1")


def test_five_kills_in_mid_flow_lose_nothing_and_count_nothing_twice(
    install: Callable[..., Installation], postgres: SeparatePostgres
) -> None:
    installation = install()
    installation.start("serve")
    installation.start("monitor")
    installation.ready()
    with Load(installation, models=MODELS) as load:
        load.more(50)
        load.kinds["digits:2"] = "covariate"
        for strike in DIRECTED:
            strike(installation, postgres)
            load.more(20)
        installation.until(lambda: installation.one("SELECT count(*) FROM alerts"), "an alert")
    settled(installation, load)


@pytest.mark.slow
def test_kills_and_halts_at_random_moments(install: Callable[..., Installation], postgres: SeparatePostgres) -> None:
    installation, dice = install(), random.Random(ROUNDS)
    strikes = list(RANDOM)  # the first ones in turn, so that few rounds have each kind
    dice.shuffle(strikes)
    installation.start("serve")
    installation.start("monitor")
    installation.ready()
    with Load(installation, models=MODELS) as load:
        load.more(20)
        for number in range(ROUNDS):
            load.kinds["digits:2"] = "covariate" if number // 10 % 2 else "none"
            strike = dice.choice(RANDOM) if dice.random() < 0.7 else dice.choice(DIRECTED[:3])
            strike = strikes[number] if number < len(strikes) else strike
            if strike in DIRECTED:
                installation.ready()
            time.sleep(dice.uniform(0.0, MAX_PAUSE))
            strike(installation, postgres)
            installation.revive()
            if number % 5 == 4:
                load.more(20)
        load.kinds["digits:2"] = "covariate"
        installation.ready()
        load.more(500)
        installation.until(lambda: installation.one("SELECT count(*) FROM alerts"), "an alert")
    settled(installation, load)
