"""Where the embedded server's socket is: in the data folder, or in a private folder with a short and plain name."""

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from ...errors import DatabaseError
from .account import Account

PLAIN = re.compile(r"[A-Za-z0-9._/-]{1,60}")  # no quoting anywhere; sockets' paths end at 104 to 108 bytes


def choose_socket_folder(data: Path, account: Account) -> Path:
    """Return a folder for the socket of the server in `data`, which only the account can enter.

    Raises
    ------
    DatabaseError
        The temporary folder already has an entry of that name which belongs to somebody else.
    """
    if PLAIN.fullmatch(str(data)):
        return data
    identity = f"{data}\0{data.stat().st_ino}".encode(errors="surrogateescape")
    temporary = next(path for path in (tempfile.gettempdir(), "/tmp") if PLAIN.fullmatch(path) or path == "/tmp")  # noqa: S108
    folder = Path(temporary) / f"tidemark-{account.uid}-{hashlib.sha256(identity).hexdigest()[:12]}"
    try:
        folder.mkdir(mode=0o700)
        account.give(folder)
    except FileExistsError:
        status = os.lstat(folder)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or status.st_mode & 0o077:
            raise DatabaseError(f"{folder} is needed for a socket and belongs to somebody else: remove it") from None
    return folder
