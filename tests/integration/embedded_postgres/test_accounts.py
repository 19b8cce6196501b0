"""The embedded Postgres of several users, of a user without a name, and of root."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.embedded_postgres import NAMELESS, answer, copied, started
from tests.support.wait import PATIENCE
from tidemark.store.embedded import account

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")


@as_root
def test_two_users_of_a_machine_each_have_a_server(public: Path) -> None:
    answer(public / "ours")
    theirs = started(public / "theirs", user=12345)
    output, _ = theirs.communicate(timeout=PATIENCE)
    assert theirs.returncode == 0, output


@as_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux")
def test_a_user_without_a_name(public: Path) -> None:
    process = started(public / "data", user=NAMELESS)
    output, _ = process.communicate(timeout=PATIENCE)
    if "Operation not permitted" in output:
        pytest.skip("this kernel allows no user namespaces")
    assert process.returncode == 0, output


@as_root
def test_the_error_of_a_failed_creation_quotes_initdb(public: Path) -> None:
    process = started(public / "data", user=NAMELESS, patch="account.SYSTEM_PATH = '/nowhere'")
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert len(output.splitlines()) == 1
    assert f"could not look up effective user ID {NAMELESS}" in output


@as_root
def test_the_data_of_another_user_is_one_line(template: Path, public: Path) -> None:
    copied(template, public / "data")
    (public / "data").chmod(0o777)
    for path in (public / "data").glob("postgres.*"):
        path.chmod(0o666)
    process = started(public / "data", user=12345)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "belongs to user" in output
    assert len(output.splitlines()) == 1


@as_root
def test_root_without_useradd_uses_nobody(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "SYSTEM_PATH", "/nowhere")
    monkeypatch.setattr(account, "NAME", "no-such-user")
    answer(public / "data")
    assert (public / "data" / "postgres").owner() == "nobody"


@as_root
def test_folders_above_the_data_are_not_opened_for_listing(public: Path) -> None:
    private = public / "private"
    private.mkdir(mode=0o700)
    answer(private / "data")
    assert private.stat().st_mode & 0o777 == 0o711
