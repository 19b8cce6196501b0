"""The monitor's decisions."""

import pytest

from tests.support.watched_stream import short_reference
from tidemark.monitor.prepared_reference import PreparedReference


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    """Return a short reference with its calibrated detector, which the module's streams are compared with."""
    return short_reference()
