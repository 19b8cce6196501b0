"""A folder for the temporary files of each run of the tests.

Pytest closes the folder above that of a run to other accounts whenever a run begins. Under root the embedded Postgres
has an account of its own: two runs below one folder would close the files of each other's servers.
"""

import shutil
from pathlib import Path

import psutil


def folder_of_run(parent: Path, prefix: str, process_id: int) -> Path:
    """Return the folder of the run whose first process has this id."""
    return parent / f"{prefix}-{process_id}"


def remove_folders_of_ended_runs(parent: Path, prefix: str) -> None:
    """Remove the folders of runs of this prefix that have ended: the files of failed tests stay until the next run."""
    for folder in parent.glob(f"{prefix}-*"):
        process_id = folder.name.rpartition("-")[2]
        if process_id.isdigit() and not psutil.pid_exists(int(process_id)):
            shutil.rmtree(folder, ignore_errors=True)  # another run that begins now may remove it too
