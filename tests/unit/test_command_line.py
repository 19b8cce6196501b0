"""The command line where something that it needs is missing."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.modules["fcntl"] = None
from tidemark import cli
cli.main()
"""


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--bundle", "none", "--port", "8999"],
        ["up", "--bundle", "none", "--port", "8999"],
        ["monitor"],
        ["migrate"],
    ],
    ids=lambda words: words[0],
)
def test_a_platform_without_file_locks_is_one_line(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, *words]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 2, process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith("tidemark: this command needs Linux or macOS")


def test_the_version() -> None:
    process = subprocess.run([sys.executable, "-m", "tidemark.cli", "--version"], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, f"tidemark {version('tidemark')}\n")
