"""The command line where something that it needs is missing."""

import os
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

THREADS_OF_A_MONITOR = """
import os, sys, types

def monitor():
    assert "numpy" not in sys.modules, "NumPy has read the variable already"
    print(os.environ["OPENBLAS_NUM_THREADS"])

sys.modules["tidemark.server.monitor_process"] = types.SimpleNamespace(monitor=monitor)
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


@pytest.mark.parametrize("threads", [None, "2"])
def test_a_monitor_has_one_thread_of_linear_algebra_unless_the_environment_decides(threads: str | None) -> None:
    others = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment = others if threads is None else others | {"OPENBLAS_NUM_THREADS": threads}
    command = [sys.executable, "-c", THREADS_OF_A_MONITOR, "monitor"]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"{threads or 1}\n"


def test_the_version() -> None:
    process = subprocess.run([sys.executable, "-m", "tidemark.cli", "--version"], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, f"tidemark {version('tidemark')}\n")
