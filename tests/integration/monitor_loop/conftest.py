"""Three models that monitors share."""

import pytest
from sqlalchemy import Engine

from tests.support.fleet import Fleet


@pytest.fixture
def fleet(engine: Engine, url: str) -> Fleet:
    return Fleet(engine, url)
