"""The command line as a user runs it."""

import os
import subprocess
import sys

TOKEN = "T0K3N"
PASSWORD = "s3s ame@:%&+#"  # a password with characters that a URL has to escape


def tidemark(*words: object, seconds: float = 300, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command, for at most some seconds, with these settings, named without the prefix, and no other."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    environment = inherited | {f"TIDEMARK_{name}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "tidemark.cli", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)


def refused(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Check that a command ended as a bad configuration does, with these parts in its line."""
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("tidemark: ")
    assert not [part for part in parts if part not in line], line
    assert not [secret for secret in (TOKEN, PASSWORD) if secret in line], line
