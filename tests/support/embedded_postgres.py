"""Data folders of the embedded Postgres, and processes that use them, also as other users."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import tidemark
from tests.support.processes import ProcessAccount
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store.embedded import postmaster

NAMELESS = 1_000_680_000  # a user id as OpenShift assigns them, without an entry in the password database
PROGRAM = """
import sys
from pathlib import Path
from tidemark.errors import TidemarkError
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store.embedded import account
{patch}
try:
    with engines.database(Settings(data_dir=Path(sys.argv[1]))) as url:
        engine = engines.connect(url)
        engines.check(engine)
        engine.dispose()
        print("ready", flush=True)
        {then}
except TidemarkError as error:
    sys.exit(f"tidemark: {{error}}")
"""


def copied(template: Path, folder: Path) -> Path:
    shutil.copytree(template, folder)
    if os.geteuid() == 0:
        owner = (template / "postgres").stat()
        for path in ((folder / "postgres"), *(folder / "postgres").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
    return folder


def answer(folder: Path) -> None:
    """Use the database once."""
    with engines.database(Settings(data_dir=folder)) as url:
        engine = engines.connect(url)
        engines.check(engine)
        engine.dispose()


def started(
    folder: Path, then: str = "", patch: str = "", environment: dict[str, str] | None = None, user: int | None = None
) -> subprocess.Popen[str]:
    """Start a process that uses the database of a folder, possibly as another user."""
    account: ProcessAccount = {}
    variables = os.environ | {"HOME": str(folder.parent)} | (environment or {})
    if user is not None:
        account = {"user": user, "group": 0 if user == NAMELESS else user, "extra_groups": ()}
        variables["PYTHONPATH"] = python_path(folder.parent)
    return subprocess.Popen(
        [python_of(user), "-c", PROGRAM.format(then=then, patch=patch), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder.parent,
        env=variables,
        **account,
    )


def python_of(user: int | None) -> str:
    """Return an interpreter of our version that a user can run: ours may be in a private folder."""
    if user is None:
        return sys.executable
    for path in (sys.executable, shutil.which(f"python3.{sys.version_info.minor}", path=os.defpath)):
        with contextlib.suppress(OSError):
            if path and subprocess.run([path, "-c", ""], user=user).returncode == 0:
                return path
    pytest.skip("no interpreter of this version that other users can run")


def python_path(folder: Path) -> str:
    """Return the search path for an interpreter that is not that of our environment."""
    link = folder / "path" / "tidemark"
    link.parent.mkdir()
    link.symlink_to(Path(tidemark.__file__).parent)
    return os.pathsep.join((str(link.parent), *(path for path in sys.path if path.endswith("site-packages"))))


def serving(folder: Path) -> psutil.Process:
    running = postmaster.find(folder / "postgres")
    assert running is not None
    return running.process
