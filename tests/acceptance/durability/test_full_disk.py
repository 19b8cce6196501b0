"""The disk under the spool fills: 503 before an answer that cannot be kept, and recovery without a hand."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import verify
from tests.support.installation import Installation
from tests.support.load import Load
from tidemark.spool.file import MIN_FREE_SHARE, is_disk_full

DISK = 80_000_000  # bytes, so few that a share of the disk must stay free
MUST_STAY_FREE = int(DISK * MIN_FREE_SHARE)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own for the data folder; Postgres has another."""
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("free_bytes", [MUST_STAY_FREE // 2, pytest.param(0, marks=pytest.mark.slow)])
def test_a_full_disk_is_reported_before_the_answer_and_recovered_from(
    small_disk: Path, install: Callable[..., Installation], free_bytes: int
) -> None:
    installation = install()
    installation.start("serve")
    installation.ready()
    with Load(installation, models=("digits:1", "digits:2")) as load, installation.client() as client:
        load.more(50)
        ballast = small_disk / "ballast"
        fill(ballast, free_bytes)
        installation.until(lambda: load.refused, "a refusal")
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["spool"]) == (503, "full")
        refused = len(load.refused)
        installation.until(lambda: len(load.refused) > refused + 5, "further refusals")
        assert client.get("/healthz").status_code == 200
        ballast.unlink()
        load.more(50)
        assert client.get("/readyz").status_code == 200
    assert set(load.statuses) == {200, 503}
    for answer in load.refused:
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        assert "disk" in answer.json()["detail"]
    installation.until(lambda: installation.spooled() == 0, "the spool to drain")
    verify.predictions_once(installation, load.ids)
    assert installation.processes["serve"].poll() is None
    assert installation.stop("serve") == 0


def test_a_small_disk_is_not_full(small_disk: Path) -> None:
    assert not is_disk_full(small_disk)
    fill(small_disk / "ballast", MUST_STAY_FREE + 1_000_000)
    assert not is_disk_full(small_disk)
    fill(small_disk / "further", MUST_STAY_FREE - 1_000_000)
    assert is_disk_full(small_disk)


def fill(ballast: Path, free_bytes: int) -> None:
    """Take all space but `left` bytes."""
    disk = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - free_bytes)
