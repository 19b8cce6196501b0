"""What a server imports when it starts."""

import subprocess
import sys


def test_a_server_starts_without_scipy() -> None:
    """It is 40 MB of memory and a second of time, which only commands, monitors and the label desk need."""
    script = "import sys, tidemark.server.app; print('scipy' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout == "False\n"
