"""The embedded Postgres: in any folder, for any user, under any locale, and never at another process's expense."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.embedded_postgres import answer, copied, serving, started
from tests.support.processes import ProcessAccount
from tests.support.wait import PATIENCE, until
from tidemark.errors import ConfigurationError, DatabaseError
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store.embedded import data_files, postmaster, programs, server, server_log, sharing

DAMAGED = ("\n", "no number\n", "-1\n", "99999999999999999999\n")  # what else may be in place of a process id
FOLDER_NAMES = ["x$(touch pwned)y", "a'b\"c", "100%41", "q?a=1"]
MORE_FOLDER_NAMES = [
    "My Projects", "tab\there", "R&D", "back\\slash", "*", "a+b", "it's", "semi;colon", "$HOME",
    "café", "hash#1", "{curly}", "com,ma", "long-" + 20 * "name",
]  # fmt: skip


def is_replaced(folder: Path, pid: int) -> bool:
    running = postmaster.find(folder / "postgres")
    return running is not None and running.is_ready and running.process.pid != pid


@contextlib.contextmanager
def stranger(folder: Path, user: int | None, command: list[str], cwd: Path | None = None) -> Iterator[psutil.Process]:
    """Run a process that has nothing to do with Postgres, and let the pid file name it."""
    account: ProcessAccount = {} if user is None else {"user": user, "group": user, "extra_groups": ()}
    with subprocess.Popen(command, cwd=cwd, **account) as process:
        lines = [str(process.pid), str(folder / "postgres"), "1700000000", "5432", str(folder), "", "1 2", "ready"]
        (folder / "postgres" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        (folder / "postgres" / ".s.PGSQL.5432.lock").write_text("\n".join(lines) + "\n")
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def server_uid(folder: Path) -> int | None:
    return (folder / "postgres").stat().st_uid if os.geteuid() == 0 else None


@pytest.mark.parametrize("name", ["sleep", "postgres"])
@pytest.mark.parametrize("as_server", [True, False], ids=["of the server's user", "of our user"])
def test_a_stale_pid_file_heals_and_its_number_s_new_process_is_left_alone(
    data: Path, tmp_path: Path, name: str, as_server: bool
) -> None:
    command = ["bash", "-c", f"exec -a {name} sleep 300"]
    with stranger(data, server_uid(data) if as_server else None, command, Path("/")) as process:
        answer(data)
        assert process.status() in (psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING)


def test_a_process_in_the_data_folder_that_is_not_postgres_is_left_alone(data: Path) -> None:
    with stranger(data, None, ["sleep", "300"], data / "postgres") as process:
        answer(data)
        assert process.status() == psutil.STATUS_SLEEPING


@pytest.mark.parametrize(
    "content", ["", *(pytest.param(content, marks=pytest.mark.slow) for content in DAMAGED), "1\n"]
)
def test_a_damaged_pid_file_heals(data: Path, content: str) -> None:
    (data / "postgres" / "postmaster.pid").write_text(content)
    answer(data)


def test_the_server_is_found_by_its_program_and_its_folder(data: Path, tmp_path: Path) -> None:
    with engines.database(Settings(data_dir=data)):
        assert serving(data).name() == "postgres"
        other = tmp_path / "other"
        other.mkdir()
        shutil.copy(data / "postgres" / "postmaster.pid", other)
        assert postmaster.find(other) is None


@pytest.mark.parametrize(
    "name", [*FOLDER_NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_FOLDER_NAMES)]
)
def test_any_folder_name(template: Path, tmp_path: Path, name: str) -> None:
    answer(copied(template, tmp_path / name))
    assert not list(Path.cwd().glob("pwned*"))


def test_an_interrupted_creation_heals(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = started(folder)
    until((folder / "postgres.new" / "PG_VERSION").exists, "initdb")
    first.kill()
    first.wait()
    answer(folder)
    assert not (folder / "postgres.new").exists()


def test_files_of_an_interrupted_creation_of_an_earlier_version_are_set_aside(tmp_path: Path) -> None:
    broken = tmp_path / "postgres"
    broken.mkdir()
    (broken / "PG_VERSION").write_text("18\n")
    answer(tmp_path)
    assert (tmp_path / "postgres.incomplete" / "PG_VERSION").exists()
    assert programs.program_folder(data_files.version(broken)) == programs.program_folder(None)


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "xx_XX.UTF-8"},
        pytest.param({"LANG": "de_DE.UTF-8"}, marks=pytest.mark.slow),
        pytest.param({"LC_ALL": "en_US.ISO-8859-1"}, marks=pytest.mark.slow),
        {"PGPORT": "1", "PGDATA": "/nowhere", "PGUSER": "nobody", "PGDATABASE": "none", "PGHOST": "192.0.2.1"},
    ],
    ids=lambda variables: "-".join(variables),
)
def test_any_locale_and_variables_of_other_servers(tmp_path: Path, variables: dict[str, str]) -> None:
    process = started(tmp_path, environment=variables)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output


def test_the_last_of_several_processes_ends_the_server(data: Path) -> None:
    with engines.database(Settings(data_dir=data)):
        pid = serving(data).pid
        answer(data)
        killed = started(data, then="import time; time.sleep(300)")
        assert killed.stdout is not None
        assert killed.stdout.readline() == "ready\n"
        killed.kill()
        killed.wait()
        assert serving(data).pid == pid
    assert postmaster.find(data / "postgres") is None
    assert not psutil.pid_exists(pid)


def test_a_killed_server_is_replaced_and_leaves_no_zombie(data: Path) -> None:
    with engines.database(Settings(data_dir=data)) as url:
        killed = serving(data)
        killed.kill()
        until(lambda: is_replaced(data, killed.pid), "the server again")
        engine = engines.connect(url)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        engine.dispose()
        until(lambda: not killed.is_running(), "the zombie's end")


def test_a_server_that_ignores_the_signal_is_killed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAST_STOP_SECONDS", "IMMEDIATE_STOP_SECONDS"):
        monkeypatch.setattr(postmaster, name, 0.3)
    with engines.database(Settings(data_dir=data)):
        process = serving(data)
        process.send_signal(signal.SIGSTOP)
    assert not psutil.pid_exists(process.pid) or process.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_is_ended_while_the_server_starts_leaves_none_behind(data: Path) -> None:
    signalling = "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))"
    process = started(data, patch=signalling)
    until((data / "postgres" / "postmaster.pid").exists, "the start")
    process.terminate()
    process.wait(PATIENCE)
    assert postmaster.find(data / "postgres") is None


def test_a_server_in_use_elsewhere_is_not_started_a_second_time(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another container on the same volume has its own process numbers: its server cannot be seen, its lock can."""
    monkeypatch.setattr(server, "VISIBLE_SECONDS", 0.5)
    elsewhere = sharing.Membership(data / "postgres")
    elsewhere.join()
    with pytest.raises(DatabaseError, match="another container"):
        server.EmbeddedServer(data / "postgres").enter()
    elsewhere.close()
    answer(data)


def test_a_log_that_has_grown_large_is_set_aside_at_a_start(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_log, "MAX_BYTES", 50_000)
    log, earlier = data / "postgres" / "log", data / "postgres" / "log.old"
    _append(log, 40_000 * b"x")
    answer(data)
    assert not earlier.exists()
    for mark in (b"y", b"z"):
        _append(log, 50_000 * mark)
        answer(data)
        assert 50_000 * mark in earlier.read_bytes()
        assert log.stat().st_size < 50_000


def test_a_log_that_grows_large_is_set_aside_while_the_server_runs(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server goes on to write into the same file, from its beginning."""
    monkeypatch.setattr(server_log, "MAX_BYTES", 50_000)
    log, earlier = data / "postgres" / "log", data / "postgres" / "log.old"
    with engines.database(Settings(data_dir=data)) as url:
        engine = engines.connect(url)
        for mark in ("first", "second"):
            with engine.connect() as connection, contextlib.suppress(DBAPIError):
                connection.execute(text(f"SELECT {mark}{'x' * 60_000}"))
            until(partial(_holds, earlier, mark), "the log to be set aside")
            until(lambda: log.stat().st_size < 50_000, "the log to be emptied")
        with engine.connect() as connection, contextlib.suppress(DBAPIError):
            connection.execute(text("SELECT third"))
        until(partial(_holds, log, "third"), "another line of the log")
        assert "\0" not in log.read_text()
        engine.dispose()


def test_a_log_is_emptied_where_the_disk_has_no_room_for_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_source: Path, target: Path) -> None:
        target.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(server_log, "MAX_BYTES", 10)
    monkeypatch.setattr(shutil, "copyfile", fail)
    log = tmp_path / "log"
    log.write_bytes(b"x" * 11)
    server_log.bound(log)
    assert log.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [log]


def _holds(log: Path, content: str) -> bool:
    return log.exists() and content in log.read_text()


def _append(log: Path, content: bytes) -> None:
    with log.open("ab") as file:
        file.write(content + b"\n")


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot write"):
        answer(tmp_path / "file" / "data")


def test_the_wheel_carries_the_programs_that_are_used() -> None:
    folder = programs.program_folder(None)
    assert {"initdb", "postgres"} <= {path.name for path in folder.iterdir()}
    with pytest.raises(DatabaseError, match="is of Postgres 9"):
        programs.program_folder(9)
