"""What `/metrics` says of drift while Postgres does not answer."""

import socket
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from tidemark.api.endpoints.drift_metrics import DriftCollector
from tidemark.api.endpoints.metrics import drift_exposition
from tidemark.store import engine as engines


@pytest.fixture
def unreachable() -> Iterator[Engine]:
    """An engine whose port nobody listens on."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        engine = engines.connect(f"postgresql+psycopg://nobody@127.0.0.1:{reserved.getsockname()[1]}/none")
        yield engine
        engine.dispose()


def samples(collector: DriftCollector) -> dict[tuple[str, str, str], float]:
    """Return availability and blindness by metric, model and reason."""
    return {
        (sample.name, sample.labels.get("model", ""), sample.labels.get("reason", "")): sample.value
        for family in text_string_to_metric_families(drift_exposition(collector).decode())
        for sample in family.samples
        if sample.name in ("tidemark_database_available", "tidemark_stream_blind")
    }


def test_served_and_earlier_models_are_reported_blind_while_the_database_is_unavailable(
    registered: Engine, unreachable: Engine
) -> None:
    collector = DriftCollector(registered, [("pets", "3")])
    before = samples(collector)
    assert before["tidemark_database_available", "", ""] == 1
    assert before["tidemark_stream_blind", "m", "database"] == 0
    collector._engine = unreachable
    assert samples(collector) == {
        ("tidemark_database_available", "", ""): 0,
        ("tidemark_stream_blind", "m", "database"): 1,
        ("tidemark_stream_blind", "pets", "database"): 1,
    }
    assert collector.models == ["m:1", "pets:3"]
    collector._engine = registered
    assert samples(collector) == before
