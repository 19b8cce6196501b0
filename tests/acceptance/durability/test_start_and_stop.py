"""How servers and monitors begin and end: as process 1, on SIGTERM, behind a load balancer."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.assets import Assets
from tests.support.command import tidemark
from tests.support.installation import PATIENCE
from tests.support.processes import answers, client_of, free_port, running
from tests.support.wait import until
from tidemark.store.embedded import postmaster

GRACE = 8.0  # seconds
END = 10.0  # seconds from the end of the grace to the end of the process


def environment(folder: Path, **settings: object) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    defaults = {"DATA_DIR": folder / "data"} | settings
    return inherited | {f"TIDEMARK_{name}": str(value) for name, value in defaults.items()}


def up(assets: Assets, port: int, *prefix: str) -> list[str]:
    return [
        *prefix,
        sys.executable,
        "-m",
        "tidemark.cli",
        "up",
        "--bundle",
        str(assets.bundles[0]),
        "--port",
        str(port),
    ]


@contextmanager
def started(command: list[str], log: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=variables, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended_within(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Return the exit code; processor time that others take on this machine is not the process's."""
    return process.wait(seconds * 10)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_on_sigterm_a_server_is_not_ready_and_serves_for_the_grace(
    assets: Assets, url: str, tmp_path: Path, workers: int
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "tidemark.cli", "serve", "--bundle", str(assets.bundles[0]), "--port", str(port)]
    variables = environment(tmp_path, DATABASE_URL=url, SHUTDOWN_GRACE=GRACE)
    with started([*command, "--workers", str(workers)], tmp_path / "serve.log", variables) as process:
        with client_of(port) as client:
            until(lambda: answers(client, "/readyz"), f"the server, see {tmp_path}/serve.log")
        process.terminate()
        statuses: list[int] = []
        body = assets.body("none", 0)

        def is_announced() -> bool:
            with client_of(port) as fresh:  # a new connection each time, as from a load balancer
                statuses.append(fresh.get("/readyz").status_code)
                headers = {"content-type": "application/json"}
                fresh.post("/predict", content=body, headers=headers).raise_for_status()
            return statuses[-1] == 503

        until(is_announced, "503")
        assert ended_within(process, GRACE + END) == 0
    assert set(statuses) <= {200, 503}


def test_a_request_in_flight_is_answered(assets: Assets, url: str, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "tidemark.cli", "serve", "--bundle", str(assets.bundles[0]), "--port", str(port)]
    body = assets.body("none", 0)
    variables = environment(tmp_path, DATABASE_URL=url, SHUTDOWN_GRACE=0)
    with started(command, tmp_path / "serve.log", variables) as process:
        with client_of(port) as client:
            until(lambda: answers(client, "/readyz"), f"the server, see {tmp_path}/serve.log")
        half_sent, go_on = threading.Event(), threading.Event()

        def slowly() -> Iterator[bytes]:
            yield body[: len(body) // 2]
            half_sent.set()
            go_on.wait(PATIENCE)
            yield body[len(body) // 2 :]

        answer: list[int] = []

        def send() -> None:
            with client_of(port) as client:
                headers = {"content-type": "application/json", "content-length": str(len(body))}
                answer.append(client.post("/predict", content=slowly(), headers=headers).status_code)

        sender = threading.Thread(target=send)
        sender.start()
        assert half_sent.wait(PATIENCE)
        time.sleep(0.2)  # until the server has read the first half
        process.terminate()
        until(lambda: not accepts(port), "the port to close")
        go_on.set()
        sender.join()
        assert answer == [200]
        assert ended_within(process, END) == 0


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_up_ends_after_sigterm_and_its_database_with_it(assets: Assets, tmp_path: Path) -> None:
    port = free_port()
    with started(up(assets, port), tmp_path / "up.log", environment(tmp_path, SHUTDOWN_GRACE=1)) as process:
        with client_of(port) as client:
            until(lambda: answers(client, "/readyz"), f"the server, see {tmp_path}/up.log")
        until((tmp_path / "data" / "monitor.alive").exists, "the monitor")
        process.terminate()
        assert ended_within(process, 1 + END) == 0
    assert postmaster.find(tmp_path / "data" / "postgres") is None


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_as_process_1_a_killed_postgres_comes_back_and_sigterm_ends_everything(assets: Assets, tmp_path: Path) -> None:
    port = free_port()
    prefix = ("unshare", "--fork", "--pid", "--mount-proc")
    variables = environment(tmp_path, SHUTDOWN_GRACE=0)
    with started(up(assets, port, *prefix), tmp_path / "up.log", variables) as outside, client_of(port) as client:
        until(lambda: answers(client, "/readyz"), f"the server, see {tmp_path}/up.log")
        (first,) = psutil.Process(outside.pid).children()
        everything = first.children(recursive=True)
        (server,) = [process for process in everything if process.cmdline()[0].endswith("/postgres")]
        server.kill()
        until(lambda: not server.is_running(), "the zombie to be collected")
        until(lambda: client.get("/readyz").json()["database"] == "current", "Postgres again")
        everything = first.children(recursive=True)
        first.send_signal(signal.SIGTERM)
        assert ended_within(outside, END) == 0
        assert not [process for process in everything if process.is_running()]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_as_process_1_any_command_ends_on_sigterm(tmp_path: Path) -> None:
    code = "import sys, time; from tidemark import cli; cli.app = lambda: (print('go', flush=True), time.sleep(300))"
    command = ["unshare", "--fork", "--pid", "--mount-proc", sys.executable, "-c", f"{code}; cli.main()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as outside:
        assert outside.stdout is not None
        assert outside.stdout.readline() == b"go\n"
        (first,) = psutil.Process(outside.pid).children()
        first.send_signal(signal.SIGTERM)
        assert outside.wait(PATIENCE) == 128 + signal.SIGTERM


def test_idle_connections_stay_open_for_longer_than_those_of_common_proxies(
    assets: Assets, url: str, tmp_path: Path
) -> None:
    """A proxy that reuses a connection which the server closes at that moment answers its client 502."""
    port = free_port()
    command = [sys.executable, "-m", "tidemark.cli", "serve", "--bundle", str(assets.bundles[0]), "--port", str(port)]
    with running(command, tmp_path / "serve.log", environment(tmp_path, DATABASE_URL=url, SHUTDOWN_GRACE=0)):
        with client_of(port) as client:
            until(lambda: answers(client, "/readyz"), f"the server, see {tmp_path}/serve.log")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.auto_open = False  # a closed connection is an error here, not a reason to open another
        connection.connect()
        with closing(connection):
            for idle in (0, 6):  # seconds; uvicorn's own default is 5
                time.sleep(idle)
                connection.request("GET", "/healthz")
                response = connection.getresponse()
                response.read()
                assert response.status == 200


@pytest.mark.parametrize("command", [pytest.param("up", marks=pytest.mark.slow), "reference"])
def test_commands_do_not_migrate_a_shared_database(
    assets: Assets, empty_url: str, tmp_path: Path, command: str
) -> None:
    words = [command, "--bundle", assets.bundles[0]]
    if command == "reference":
        words[1:1] = ["build"]
        words += ["--images", assets.images, "--limit", 100]
    else:
        words += ["--port", free_port()]
    result = tidemark(*words, DATABASE_URL=empty_url, DATA_DIR=tmp_path)
    assert result.returncode == 2
    assert "run `tidemark migrate`" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_server_on_all_addresses_takes_both_families_and_its_links_can_be_opened(
    assets: Assets, url: str, tmp_path: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "tidemark.cli", "serve", "--bundle", str(assets.bundles[0])]
    command += ["--host", "::", "--port", str(port)]
    log = tmp_path / "serve.log"
    variables = environment(tmp_path, DATABASE_URL=url, SHUTDOWN_GRACE=0, API_KEY="typo")
    with running(command, log, variables), client_of(port) as client:
        until(lambda: answers(client, "/readyz"), f"the server, see {log}")
        assert httpx.get(f"http://[::1]:{port}/healthz", trust_env=False, timeout=PATIENCE).status_code == 200
    text = log.read_text()
    assert "without TIDEMARK_API_KEYS" in text
    assert "TIDEMARK_API_KEY is not a setting of Tidemark and has no effect, did you mean TIDEMARK_API_KEYS?" in text
