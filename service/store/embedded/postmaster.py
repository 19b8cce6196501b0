"""The embedded server's main process: found by its pid file, and signalled only after it has proved its identity."""

import signal
from dataclasses import dataclass
from pathlib import Path

import psutil

from ...polling import wait_until

PID_FILE = "postmaster.pid"
PID_FILE_LINES = 8  # lines of a ready server's file; the second is the path of its data, which may have line breaks
SOCKET_LINE = 4  # number of the line with the socket's folder, counted from the end
READY = "ready"  # last line of the pid file of a server that accepts connections
FAST_STOP_SECONDS = 2.0  # seconds for a fast shutdown, which ends sessions and writes a checkpoint
IMMEDIATE_STOP_SECONDS = 1.0  # seconds for an immediate one, after which the next start replays the WAL
POLL_SECONDS = 0.05  # seconds between two checks whether it has ended


@dataclass(frozen=True)
class Postmaster:
    """A running server.

    Attributes
    ----------
    process : psutil.Process
        Its main process.
    socket_folder : str
        Folder of its socket, empty until it is ready.
    is_ready : bool
        Whether it accepts connections.
    """

    process: psutil.Process
    socket_folder: str
    is_ready: bool


def find(folder: Path) -> Postmaster | None:
    """Return the server whose data is in `folder`, or None.

    A pid file may outlive its server, and its number may belong to any process by now, of any user. A process counts
    as the server only if its program is `postgres` and its working folder is `folder`.
    """
    try:
        lines = (folder / PID_FILE).read_text(errors="replace").splitlines()
        process = psutil.Process(int(lines[0]))
        if not _is_server_of(process, folder):
            return None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    is_ready = lines[-1].strip() == READY and len(lines) >= PID_FILE_LINES
    return Postmaster(process, lines[-SOCKET_LINE].strip() if is_ready else "", is_ready)


def forget(folder: Path, socket_lock: Path) -> None:
    """Remove the files by which a server that is gone claims its data and its socket.

    Postgres itself refuses to start if the number that they hold belongs to another process of its user by now.
    """
    for claim in (folder / PID_FILE, socket_lock):
        claim.unlink(missing_ok=True)


def stop(postmaster: Postmaster) -> None:
    """End a server: at first in good order, then at once. psutil refuses to signal a number that was reused."""
    stages = (
        (signal.SIGINT, FAST_STOP_SECONDS),
        (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS),
        (signal.SIGKILL, IMMEDIATE_STOP_SECONDS),
    )
    for number, seconds in stages:
        try:
            postmaster.process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        if wait_until(lambda: _has_ended(postmaster.process), seconds, POLL_SECONDS):
            return


def _has_ended(process: psutil.Process) -> bool:
    """Check whether a process has ended; a zombie has, although its parent has not collected it."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _is_server_of(process: psutil.Process, folder: Path) -> bool:
    command = process.cmdline()  # empty for a zombie
    return bool(command) and Path(command[0]).name == "postgres" and Path(process.cwd()).samefile(folder)
