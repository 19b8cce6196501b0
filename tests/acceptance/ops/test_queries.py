"""Every query of every dashboard and rule, asked of a real Prometheus that reads a live Tidemark in drift."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text

from tests.support import live_drift as live
from tests.support.live_drift import await_data, query_values
from tests.support.shipped_queries import DASHBOARDS, dashboard, queries_of_dashboards, queries_of_rules, substituted
from tidemark.store import engine as engines
from tidemark.store import schema

ALL = {"model": ".*", "version": ".*", "slice": ".*", "__rate_interval": "1m"}
ONE = ALL | {"model": "digits", "version": "1"}
SLICE = ONE | {"slice": "camera=7"}
DRIFTED = (  # what comes last after the drifted traffic
    'ALERTS{alertname="TidemarkDriftDetected", slice=""}',
    'ALERTS{alertname="TidemarkDriftDetected", slice="camera=7"}',
    'tidemark_feedback_accuracy{slice=""}',
    'tidemark_feedback_accuracy{slice="camera=7"}',
)
HANDLED = (  # notifications that come once people have acknowledged it
    'ALERTS{alertname="TidemarkDriftHandled", slice=""}',
    'ALERTS{alertname="TidemarkDriftHandled", slice="camera=7"}',
)
STRAINED = (  # and what after the strain, of which rates have to be young
    'rate(tidemark_predict_requests_total{status="503"}[1m])',
    'rate(tidemark_requests_total{path="/feedback", status="400"}[1m])',
    "rate(tidemark_predict_seconds_count[1m]) > 0",
)

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


@pytest.fixture(scope="module")
def database_url(server_url: str) -> Iterator[str]:
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE ops"))
    url = make_url(server_url).set(database="ops").render_as_string(hide_password=False)
    engine = engines.connect(url)
    schema.migrate(engine)
    engine.dispose()
    yield url
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE ops WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="module")
def prometheus(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus that has watched a Tidemark go from calm into drift."""
    folder = tmp_path_factory.mktemp("ops")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIDEMARK_DATABASE_URL", database_url)
        with live.tidemark(folder) as tidemark, live.prometheus(tidemark.base_url.port or 0, folder) as client:
            live.drift(tidemark)
            for query in DRIFTED:
                await_data(client, query)
            live.acknowledge(tidemark)
            for query in HANDLED:
                await_data(client, query)
            live.strain(tidemark)
            for query in STRAINED:
                await_data(client, query)
            yield client


@pytest.mark.parametrize("values", [ALL, ONE], ids=["all", "one"])
def test_every_panel_and_annotation_has_data(prometheus: httpx.Client, values: dict[str, str]) -> None:
    empty = [name for name, query in queries_of_dashboards(values) if not query_values(prometheus, query)]
    assert empty == []


def test_every_panel_of_drift_has_data_of_a_slice(prometheus: httpx.Client) -> None:
    drift = [(name, query) for name, query in queries_of_dashboards(SLICE) if name.startswith("Tidemark: Drift")]
    assert [name for name, query in drift if not query_values(prometheus, query)] == []


def test_every_rule_has_data(prometheus: httpx.Client) -> None:
    empty = [name for name, query in queries_of_rules() if not query_values(prometheus, query)]
    assert empty == []


def test_prometheus_evaluates_every_rule(prometheus: httpx.Client) -> None:
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []


def test_only_the_alerts_of_drift_fire(prometheus: httpx.Client) -> None:
    alerts = prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
    firing = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
    assert firing == {"TidemarkDriftDetected", "TidemarkDriftHandled"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=[path.stem for path in DASHBOARDS])
def test_the_variables_offer_what_there_is(prometheus: httpx.Client, path: Path) -> None:
    offered = {}
    queries = [item for item in dashboard(path)["templating"]["list"] if item["type"] == "query"]
    for variable in queries:
        query = substituted(variable["query"]["query"], ALL)
        series, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        answer = prometheus.get(f"/api/v1/label/{label}/values", params={"match[]": series}).json()
        offered[variable["name"]] = answer["data"]
    assert offered == {"model": ["digits"], "version": ["1"], "slice": ["camera=7"]}
