"""The files of the embedded Postgres: created once, completely or not at all."""

import logging
import re
import shutil
from pathlib import Path

from ...errors import DatabaseError
from . import programs
from .account import Account

SUPERUSER = "postgres"
NEW_SUFFIX = ".new"  # folder in which initdb works, next to the final one
INCOMPLETE_SUFFIX = ".incomplete"  # suffix that an earlier version gave a folder while initdb ran
LAST_CREATED = Path("base", "5")  # database `postgres`, which initdb creates last and which holds Tidemark's tables
ERROR_LINE = re.compile("error:|fatal:|panic:|hint:|could not|cannot", re.I)  # marks lines that name a cause
MAX_REASON_LINES = 3  # lines of initdb's output in an error

logger = logging.getLogger(__name__)


def version(folder: Path) -> int | None:
    """Return the major version of the database in `folder`, or None if there is no complete one."""
    try:
        number = int((folder / "PG_VERSION").read_text())
    except (OSError, ValueError):
        return None
    complete = (folder / "global" / "pg_control").exists() and (folder / LAST_CREATED).exists()
    return number if complete else None


def create(folder: Path, account: Account, lock: int) -> None:
    """Create the database's files in a new folder next to `folder`, then rename it.

    Parameters
    ----------
    lock : int
        Descriptor of the lock that the caller holds. initdb inherits it, so that nobody removes the folder in which an
        initdb works whose parent was killed.

    Raises
    ------
    DatabaseError
        initdb failed; the error has initdb's own words.
    """
    binaries = programs.program_folder(None)
    new_folder = folder.with_name(folder.name + NEW_SUFFIX)
    shutil.rmtree(new_folder, ignore_errors=True)
    new_folder.mkdir(mode=0o700)
    account.give(new_folder)
    account.reach(new_folder)
    programs.ensure_runnable(binaries, account)
    options = [f"--username={SUPERUSER}", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
    result = programs.run(binaries, account, "initdb", [*options, "--pgdata", str(new_folder)], open_files=[lock])
    if result.returncode != 0:
        shutil.rmtree(new_folder, ignore_errors=True)
        raise DatabaseError(f"the embedded Postgres in {folder} cannot be created: {_reason(result.stdout)}")
    if folder.exists():
        _set_aside(folder)
    new_folder.rename(folder)


def _set_aside(folder: Path) -> None:
    """Move what an interrupted initdb left; it holds no data of ours, but deleting is not ours to decide."""
    incomplete_folder = folder.with_name(folder.name + INCOMPLETE_SUFFIX)
    if any(folder.iterdir()):
        shutil.rmtree(incomplete_folder, ignore_errors=True)
        folder.rename(incomplete_folder)
        logger.warning("%s was an incomplete database and is now %s", folder, incomplete_folder)


def _reason(output: str) -> str:
    """Return the lines of initdb's output that name the fault."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    error_lines = [line for line in lines if ERROR_LINE.search(line)]
    return "; ".join(error_lines[:MAX_REASON_LINES] or lines[-1:]) or "initdb ended without a message"
