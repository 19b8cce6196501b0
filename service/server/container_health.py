"""The health check of the image, whichever command the container runs."""

import os
import sys
import time
import urllib.request
from pathlib import Path

COMMAND = Path("/proc/1/cmdline")  # command line of the container's own process
DEFAULT_PORT = "8000"
TIMEOUT = 4.0  # seconds for an answer of the server
HEARTBEAT_FILE = "monitor.alive"  # file in the data folder; its time of change is the monitor's last heartbeat
MAX_HEARTBEAT_AGE = 60.0  # seconds since the last heartbeat, of which there is one every ten


def is_healthy(arguments: list[str], data_dir: Path) -> bool:
    """Return whether a container that runs `tidemark` with these arguments works.

    Commands other than `serve`, `up` and `monitor` are healthy as long as they run.
    """
    if "monitor" in arguments:
        try:
            return time.time() - (data_dir / HEARTBEAT_FILE).stat().st_mtime < MAX_HEARTBEAT_AGE
        except OSError:
            return False
    if not {"serve", "up"} & set(arguments):
        return True
    port = arguments[arguments.index("--port") + 1] if "--port" in arguments[:-1] else DEFAULT_PORT
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return bool(opener.open(f"http://127.0.0.1:{port}/healthz", timeout=TIMEOUT).status == 200)
    except OSError:
        return False


def main() -> None:
    """Exit with 0 if the container is healthy, else with 1."""
    arguments = COMMAND.read_text(errors="replace").rstrip("\0").split("\0")
    sys.exit(0 if is_healthy(arguments, Path(os.environ.get("TIDEMARK_DATA_DIR", ".tidemark"))) else 1)


if __name__ == "__main__":
    main()
