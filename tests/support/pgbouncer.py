"""A real PgBouncer in front of the tests' Postgres."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.support.processes import ProcessAccount, free_port
from tests.support.wait import PATIENCE, until

PROGRAM = shutil.which("pgbouncer", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))


@contextmanager
def pgbouncer(url: str, folder: Path, mode: str = "transaction", pool_size: int = 3) -> Iterator[str]:
    """Run PgBouncer in front of the server of a URL; yield the URL through it."""
    assert PROGRAM is not None
    server = make_url(url)
    socket_folder = str(server.query["host"])
    port = free_port()
    lines = [
        "[databases]",
        f"* = host={socket_folder} user=postgres",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        f"pool_mode = {mode}",
        f"default_pool_size = {pool_size}",
        "server_reset_query = ",
    ]
    config = folder / "pgbouncer.ini"
    config.write_text("\n".join(lines) + "\n")
    account: ProcessAccount = {}
    if os.geteuid() == 0:  # PgBouncer refuses to run as root; the socket is open to its server's user only
        owner = Path(socket_folder).stat().st_uid
        account = {"user": owner, "group": pwd.getpwuid(owner).pw_gid, "extra_groups": ()}
    with (folder / "pgbouncer.log").open("wb") as log, config.open() as readable:
        path = f"/dev/fd/{readable.fileno()}"
        process = subprocess.Popen(
            [PROGRAM, "-q", path], stdout=log, stderr=log, pass_fds=[readable.fileno()], cwd="/", **account
        )
    try:
        _await(port, folder / "pgbouncer.log")
        yield server.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait()


def _await(port: int, log: Path) -> None:
    def accepts() -> bool:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        return True

    until(accepts, lambda: f"PgBouncer: {log.read_text()}", not_yet=OSError)
