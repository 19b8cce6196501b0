"""The error of a database that cannot be created: initdb's own words, of many lines the first that name a cause."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tidemark.errors import DatabaseError
from tidemark.store.embedded import data_files, programs
from tidemark.store.embedded.account import Account
from tidemark.store.embedded.data_files import MAX_REASON_LINES


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "creating directory\n" + "".join(f"initdb: error: {number}\n" for number in range(MAX_REASON_LINES + 2)),
            "; ".join(f"initdb: error: {number}" for number in range(MAX_REASON_LINES)),
        ),
        ("creating directory\nkilled\n", "killed"),
        ("\n", "initdb ended without a message"),
    ],
)
def test_a_failed_creation_quotes_a_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, reason: str
) -> None:
    def initdb(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, output)

    monkeypatch.setattr(programs, "program_folder", lambda _: tmp_path)
    monkeypatch.setattr(programs, "ensure_runnable", lambda *_: None)
    monkeypatch.setattr(programs, "run", initdb)
    with pytest.raises(DatabaseError) as caught:
        data_files.create(tmp_path / "data", Account(os.geteuid(), os.getegid(), None), lock=0)
    assert str(caught.value).endswith(f"cannot be created: {reason}")
    assert not list(tmp_path.iterdir())
