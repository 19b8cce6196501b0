"""A whole server on a small RGB classifier and a database of its own; webhook receivers; registered models."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.bundles import observed_bundle
from tests.support.calibration import brief_calibrations, brief_window_tests
from tests.support.drifting import Drifting
from tests.support.graphs import mlp
from tests.support.incident import Incident
from tests.support.labelling import Desk
from tests.support.monitoring import Installation
from tests.support.receiver import Receiver
from tidemark.alerts import delivery
from tidemark.inference.bundle import AnyBundle, Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.monitor.rest_periods import RestPeriods
from tidemark.server.app import create_app
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import (
    models,
    streams,
)


@pytest.fixture(scope="module", autouse=True)
def _brief_statistics() -> Iterator[None]:
    """Calibrations and window tests are short; their rates and their power are tested in `tests/statistics`."""
    with brief_calibrations(), brief_window_tests():
        yield


@pytest.fixture(autouse=True)
def _no_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Background work of a monitor does not rest here, where all workers of the tests want the processors."""
    monkeypatch.setattr(RestPeriods, "due", lambda _: 0.0)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\nLöwe\n", encoding="utf-8")
    model = mlp(tmp_path / "mlp.onnx", image=("N", 3, 8, 8))
    return init_bundle(model, tmp_path / "bundle", name="pets", version="3", labels=labels, preset="imagenet")


@pytest.fixture
def serve(bundle: Bundle, settings: Settings, url: str) -> Iterator[Callable[..., TestClient]]:
    """Start a server with settings of its own; return its client."""
    with ExitStack() as stack:

        def start(
            *others: AnyBundle,
            corrections: Any = None,
            shadows: Sequence[Bundle] = (),
            alone: bool = False,
            **changes: Any,
        ) -> TestClient:
            served = others if alone else (bundle, *others)
            app = create_app(Settings(**settings.model_dump() | changes), served, url, corrections, shadows)
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()


@pytest.fixture
def observed(tmp_path: Path) -> AnyBundle:
    """A model that is served elsewhere."""
    return observed_bundle(tmp_path / "observed")


@pytest.fixture
def drifting(client: TestClient, engine: Engine, url: str) -> Drifting:
    return Drifting(client, engine, url)


@pytest.fixture
def desk(client: TestClient, engine: Engine) -> Desk:
    """A stream with a reference, whose predictions are labelled."""
    return Desk(client, engine)


@pytest.fixture
def registered(engine: Engine) -> Engine:
    """A database that knows a model m:1."""
    with engine.begin() as connection:
        models.register(connection, "m", "1", "a" * 64, ["x"])
    return engine


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    """Make webhook receivers that close with the test."""
    receivers: list[Receiver] = []

    def make(*statuses: int, **options: Any) -> Receiver:
        receivers.append(Receiver(*statuses, **options))
        return receivers[-1]

    yield make
    for each in receivers:
        each.close()


@pytest.fixture
def stream_id(engine: Engine) -> int:
    """The stream of a registered model m:1."""
    with engine.begin() as connection:
        models.register(connection, "m", "1", "a" * 64, ["x", "y"])
        return int(streams.load_all(connection)[0].id)


@pytest.fixture
def empty(empty_url: str) -> Iterator[Engine]:
    """An engine on a new database without a schema."""
    engine = engines.connect(empty_url)
    yield engine
    engine.dispose()


@pytest.fixture
def model_id(engine: Engine) -> int:
    with engine.begin() as connection:
        return models.register(connection, "m", "1", "a" * 64, ["cat", "dog"])


@pytest.fixture
def incident(
    engine: Engine, url: str, stream_id: int, receiver: Callable[..., Receiver], quick_retries: None
) -> Callable[..., Incident]:
    return lambda *statuses, **options: Incident(engine, url, stream_id, receiver(*statuses), **options)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_RETRY", 0.01)


@pytest.fixture
def installation(engine: Engine, url: str) -> Installation:
    """A model with a reference, whose traffic a monitor processes."""
    return Installation(engine, url)


@pytest.fixture
def far(serve: Callable[..., TestClient], observed: AnyBundle) -> TestClient:
    """A server that observes one model, which is served elsewhere."""
    return serve(observed, alone=True)
