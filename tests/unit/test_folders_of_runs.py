"""Runs of the tests at the same time keep apart, and those that ended leave nothing behind for ever."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.folders_of_runs import folder_of_run, remove_folders_of_ended_runs


def test_folders_of_ended_runs_are_removed_and_those_of_running_ones_stay(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    present, other = folder_of_run(tmp_path, "tests", os.getpid()), folder_of_run(tmp_path, "others", ended.pid)
    past = folder_of_run(tmp_path, "tests", ended.pid)
    for folder in (present, other, past):
        (folder / "pytest-of-root").mkdir(parents=True)
    remove_folders_of_ended_runs(tmp_path, "tests")
    assert sorted(tmp_path.iterdir()) == sorted([present, other])
