"""Unit tests need no database: what asks for one belongs into `tests/integration`."""

from collections.abc import Iterator

import pytest

from tests.support.calibration import brief_calibrations, brief_window_tests


@pytest.fixture(scope="session")
def server_url() -> str:
    """Refuse a database to a unit test."""
    pytest.fail("a unit test asks for Postgres: move it to tests/integration")


@pytest.fixture(scope="module", autouse=True)
def _brief_statistics() -> Iterator[None]:
    """Calibrations and window tests are short; their rates and their power are tested in `tests/statistics`.

    A fixture of a package would last to the end of the run, since pytest takes a folder without `__init__.py` for none.
    """
    with brief_calibrations(), brief_window_tests():
        yield
