"""Data folders with a database in them, and a folder that every user may enter."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.embedded_postgres import answer, copied


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose database was created and stopped."""
    folder = tmp_path_factory.mktemp("template")
    answer(folder)
    return folder


@pytest.fixture
def data(template: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own with a database in it."""
    return copied(template, tmp_path / "data")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="tidemark-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)
