"""The system account that the embedded Postgres runs as: Postgres refuses to run as root."""

import logging
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ...errors import DatabaseError
from ...polling import wait_until

NAME = "pgserver"  # account that is created for the server when Tidemark runs as root
FALLBACK = "nobody"  # account for systems without useradd
SYSTEM_PATH = os.pathsep.join((os.defpath, "/usr/local/sbin", "/usr/sbin", "/sbin"))  # folders in which useradd may be
PASS = stat.S_IXGRP | stat.S_IXOTH  # permission bits to pass through a folder
CREATE_SECONDS = 5.0  # seconds to wait for another process that is creating the account at the same moment
CREATE_PAUSE = 0.2  # seconds between two attempts

logger = logging.getLogger(__name__)


class PopenUser(TypedDict, total=False):
    """The arguments of `subprocess` that choose the user of a program; none for the user of this process."""

    user: int
    group: int
    extra_groups: tuple[int, ...]


@dataclass(frozen=True)
class Account:
    """A user and a group, and how to start a program as them.

    Attributes
    ----------
    uid, gid : int
        Uid and gid of the server's processes and files.
    name : str or None
        Name of the user, or None for a user without an entry in the password database, as in some containers.
    """

    uid: int
    gid: int
    name: str | None

    @property
    def is_current(self) -> bool:
        """Whether this process runs as this user already."""
        return self.uid == os.geteuid()

    def popen_arguments(self) -> PopenUser:
        """Return the keyword arguments with which `subprocess` starts a program as this user."""
        return {} if self.is_current else {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def named_prefix(self) -> list[str]:
        """Return the start of a command line for a program that insists on the user's name, as initdb does.

        A user without a name is mapped to one that has one, in a user namespace for that program alone.
        """
        unshare = shutil.which("unshare", path=SYSTEM_PATH)
        if self.name is not None or unshare is None:
            return []
        stand_in = next((entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != 0), None)
        return [] if stand_in is None else [unshare, "--user", f"--map-user={stand_in}", "--"]

    def give(self, path: Path) -> None:
        """Give a file or a folder with all its content to this user."""
        if self.is_current:
            return
        os.chown(path, self.uid, self.gid)
        for folder, names, files in os.walk(path):
            for name in (*names, *files):
                os.chown(Path(folder) / name, self.uid, self.gid, follow_symlinks=False)

    def reach(self, path: Path) -> None:
        """Let this user pass through the folders above a path, without letting anybody list them."""
        if self.is_current:
            return
        for folder in path.absolute().parents:
            mode, owner = stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid
            if mode & PASS != PASS and owner != self.uid:
                logger.info("%s: execute permission added, so that user %s reaches %s", folder, self.name, path)
                folder.chmod(mode | PASS)


def server_account(folder: Path) -> Account:
    """Return the account of the server whose data is in `folder`: the current one, or another one under root.

    Raises
    ------
    DatabaseError
        The data belongs to another user, whom only root could use.
    """
    current = os.geteuid()
    owner = folder.stat().st_uid if folder.exists() else current
    if current == 0 and owner != 0:
        return Account(owner, folder.stat().st_gid, _name(owner))
    if current == 0:
        entry = _created() or pwd.getpwnam(FALLBACK)
        return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
    if owner != current:
        raise DatabaseError(
            f"the embedded Postgres in {folder} belongs to user {_name(owner) or owner}: run as that user, or as root"
        )
    return Account(current, os.getegid(), _name(current))


def _name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _created() -> pwd.struct_passwd | None:
    """Return the server's own account, created now if necessary, or None if this system cannot create one."""
    useradd = shutil.which("useradd", path=SYSTEM_PATH)
    if useradd is not None:
        command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]

        def exists_or_created() -> bool:  # useradd fails while another process creates the account
            return _entry() is not None or subprocess.run(command, capture_output=True).returncode == 0  # noqa: S603

        wait_until(exists_or_created, CREATE_SECONDS, CREATE_PAUSE)
    return _entry()


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        return None
