"""`tidemark up` with its embedded Postgres: what is killed comes back, and others may use the same data folder."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.assets import Assets
from tests.support.command import refused, tidemark
from tests.support.processes import answers, client_of, free_port, running
from tests.support.wait import until


def up(assets: Assets, port: int) -> list[str]:
    return [sys.executable, "-m", "tidemark.cli", "up", "--bundle", str(assets.bundles[0]), "--port", str(port)]


def environment(folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    return inherited | {"TIDEMARK_DATA_DIR": str(folder)}


def children(word: str, port: int) -> list[psutil.Process]:
    """Return the `serve` or `monitor` of the `up` on a port; none while it is being started again."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            above = process.parent()
            if word in process.cmdline() and above and {"up", str(port)} <= set(above.cmdline()):
                processes.append(process)
    return processes


def predict(client: httpx.Client, body: bytes) -> list[str]:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"}).raise_for_status()
    return [prediction["id"] for prediction in answer.json()["predictions"]]


def stored(client: httpx.Client, ids: list[str]) -> bool:
    """Tell whether all are in Postgres; not while the server is being started again."""
    try:
        return all(client.get(f"/predictions/{key}").status_code == 200 for key in ids)
    except httpx.TransportError:
        return False


def test_a_killed_process_restarts_by_itself(assets: Assets, tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    postmaster = data / "postgres" / "postmaster.pid"
    bodies = [assets.body("none", number) for number in range(3)]
    with running(up(assets, port), tmp_path / "up.log", environment(data)), client_of(port) as client:
        until(lambda: answers(client, "/readyz"), "the server")
        ids = predict(client, bodies[0])
        os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)
        ids += predict(client, bodies[1])
        until(lambda: stored(client, ids), f"Postgres again, see {tmp_path}/up.log")
        ids += predict(client, bodies[2])
        for process in (*children("serve", port), *children("monitor", port)):
            process.kill()
        until(lambda: answers(client, "/readyz"), "the server again")
        until(lambda: stored(client, ids), "the orphaned spool")
        until(lambda: children("monitor", port), "the monitor again")
    assert not postmaster.exists()


@pytest.mark.slow
def test_two_installations_on_one_folder_share_its_server(assets: Assets, tmp_path: Path) -> None:
    """The second `up` needs a port of its own; a reference can be built meanwhile; the last to leave ends it."""
    settings = environment(tmp_path / "data")
    ports = free_port(), free_port()
    commands = [up(assets, port) for port in ports]
    pid = tmp_path / "data" / "postgres" / "postmaster.pid"
    with running(commands[0], tmp_path / "first.log", settings), client_of(ports[0]) as first:
        until(lambda: answers(first, "/readyz"), "the first")
        same = tidemark("up", "--bundle", assets.bundles[0], "--port", ports[0], DATA_DIR=tmp_path / "data")
        refused(same, "in use")
        with running(commands[1], tmp_path / "second.log", settings), client_of(ports[1]) as second:
            until(lambda: answers(second, "/readyz"), "the second")
            words = ["--bundle", assets.bundles[0], "--images", assets.images, "--limit", 100]
            result = tidemark("reference", "build", *words, DATA_DIR=tmp_path / "data")
            assert result.returncode == 0, result.stderr
            assert answers(first, "/readyz")
        assert answers(first, "/drift")
        assert pid.exists()
    assert not pid.exists()
