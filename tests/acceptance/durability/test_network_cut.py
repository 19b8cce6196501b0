"""Two API machines and two monitors, each in a network namespace, whose network to Postgres is cut under load."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support import verify
from tests.support.assets import Assets
from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.network import Network
from tests.support.postgres import SeparatePostgres
from tests.support.shipped_queries import PROMETHEUS

SERVERS, MONITORS = ("serve-a", "serve-b"), ("monitor-a", "monitor-b")
MACHINES = (*SERVERS, *MONITORS)
MODELS = ("digits:1", "digits:2")
ROUNDS = int(os.environ.get("TIDEMARK_TEST_ROUNDS", "3"))
SESSION_END = 75.0  # seconds: Postgres ends the sessions of a lost machine within 60; the rest is for the test itself
FLICKERS = 5  # cuts that are shorter than what ends a session
SILENT = "does not answer: predictions wait in the spool"
SERIES = re.compile(r"^tidemark_stream_blind\{(.*)\} (\S+)$", re.M)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if (reason := Network.missing()) is not None:
        pytest.skip(reason)
    created = Network(MACHINES)
    yield created
    created.close()


@pytest.fixture(scope="module")
def distant_postgres(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeparatePostgres]:
    server = SeparatePostgres(tmp_path_factory.mktemp("distant") / "data", network.database_address)
    yield server
    server.close()


@pytest.fixture
def installation(
    network: Network, distant_postgres: SeparatePostgres, assets: Assets, tmp_path: Path
) -> Iterator[Installation]:
    created = Installation(tmp_path, distant_postgres.database("cut"), assets, network.address)
    yield created
    created.close()


@pytest.mark.slow
def test_a_network_cut_loses_nothing_and_is_reported(
    installation: Installation, distant_postgres: SeparatePostgres, network: Network
) -> None:
    for name in MACHINES:
        folder = installation.folder / name[-1]
        installation.start(name, prefix=network.prefix(name), address=network.address_of(name), DATA_DIR=folder)
    for name in SERVERS:
        installation.ready(name)
    with Load(installation, SERVERS, MODELS) as load:
        load.more(100)
        for number in range(ROUNDS):
            installation.until(lambda: len(set(owners(installation).values())) == 2, "a model for each monitor")
            if number % 3 == 0:
                cut_one_of_each(installation, distant_postgres, network, load, "ab"[number // 3 % 2])
            elif number % 3 == 1:
                cut_all(installation, network, load)
            else:
                flicker(network, load)
            installation.until(lambda: sum(map(installation.spooled, "ab")) < 50, "the spools to drain")
        load.kinds["digits:2"] = "covariate"
        installation.until(lambda: installation.one("SELECT count(*) FROM alerts"), "an alert")
    assert set(load.statuses) == {200}
    for letter in "ab":
        installation.settle(letter)
    verify.predictions_once(installation, load.ids)
    for model in MODELS:
        verify.windows_once(installation, model)
    verify.alerts_delivered(installation)
    verify.evidence_as_undisturbed(installation, "digits:1")


def cut_one_of_each(
    installation: Installation, postgres: SeparatePostgres, network: Network, load: Load, letter: str
) -> None:
    """The server that is cut says so and answers; the other monitor takes over; Postgres ends the dead sessions."""
    server, monitor = f"serve-{letter}", f"monitor-{letter}"
    (model,) = [model for model, owner in owners(installation).items() if owner == monitor]
    with network.cut(server, monitor), installation.client(server) as client:
        load.more(50)
        installation.until(lambda: is_silent(client), f"{server} to say that the database does not answer")
        installation.until(lambda: blind(client)["digits:1", "database"] == 1, "the metric")
        assert_the_rule_fires(installation.folder, client.get("/metrics").text)
        installation.until(
            lambda: owners(installation).get(model, monitor) != monitor, "the other monitor to take over"
        )
        position = installation.stream(model).seen
        installation.until(lambda: installation.stream(model).seen > position + 20, "its steps")
        addresses = ", ".join(f"'{network.database_address_of(name)}'" for name in (server, monitor))
        sessions = f"SELECT count(*) FROM pg_stat_activity WHERE client_addr IN ({addresses})"
        installation.until(lambda: postgres.run(sessions)[0][0] == 0, "the end of the dead sessions", SESSION_END)
        assert installation.spooled(letter) > 0
    with installation.client(server) as client:
        installation.until(lambda: client.get("/readyz").json()["database"] == "current", "the database")
        installation.until(lambda: not any(blind(client).values()), "no blind model")


def cut_all(installation: Installation, network: Network, load: Load) -> None:
    """Nobody reaches Postgres: all predictions stay in the spool, and the log reports it, until the network is back."""
    with network.cut(*MACHINES), installation.client("serve-a") as client:
        installation.until(lambda: is_silent(client), "the server to say that the database does not answer")
        load.more(200)
        assert installation.spooled("a") > 0
        assert installation.spooled("b") > 0


def flicker(network: Network, load: Load) -> None:
    """Short cuts that end no session: what was on its way is sent again by TCP."""
    for _ in range(FLICKERS):
        with network.cut(*MACHINES):
            load.more(20)
        load.more(20)


def owners(installation: Installation) -> dict[str, str]:
    """Return the monitor that owns each model, '' for one that is gone."""
    names = {str(process.pid): name for name, process in installation.processes.items()}
    rows = installation.rows(
        "SELECT m.name || ':' || m.version AS model, coalesce(w.name, '') AS monitor "
        "FROM streams s JOIN models m ON m.id = s.model_id "
        "LEFT JOIN monitors w ON w.id = s.lease_owner WHERE s.slice = '' AND s.lease_until > now()"
    )
    return {row.model: names.get(row.monitor.rpartition(":")[2], "") for row in rows}


def is_silent(client: httpx.Client) -> bool:
    answer = client.get("/readyz")
    return answer.status_code == 200 and bool(answer.json()["database"] == SILENT)


def blind(client: httpx.Client) -> dict[tuple[str, str], float]:
    """Return the values of the metric by model and reason."""
    values = {}
    for text, value in SERIES.findall(client.get("/metrics").text):
        labels = dict(re.findall(r'(\w+)="(.*?)"', text))
        values[f"{labels['model']}:{labels['version']}", labels["reason"]] = float(value)
    return values


def assert_the_rule_fires(folder: Path, metrics: str) -> None:
    """Let Prometheus' own tool evaluate the shipped rule on the series as they were scraped."""
    if shutil.which("promtool") is None:
        return
    series = [
        {"series": f"tidemark_stream_blind{{{labels}}}", "values": f"{float(value):g}x10"}
        for labels, value in SERIES.findall(metrics)
    ]
    alerts = [_alert({"model": "digits", "version": version, "reason": "database"}) for version in ("1", "2")]
    expected = [{"eval_time": "5m", "alertname": "TidemarkBlind", "exp_alerts": alerts}]
    tests = [{"interval": "1m", "input_series": series, "alert_rule_test": expected}]
    path = folder / "blind.test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(PROMETHEUS / "tidemark.rules.yml")], "tests": tests}))
    result = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def _alert(labels: Mapping[str, str]) -> dict[str, Any]:
    rules = yaml.safe_load((PROMETHEUS / "tidemark.rules.yml").read_text())["groups"]
    (rule,) = [rule for group in rules for rule in group["rules"] if rule["alert"] == "TidemarkBlind"]
    annotations = {
        name: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: labels[match[1]], text)
        for name, text in rule["annotations"].items()
    }
    return {"exp_labels": {"severity": "critical", **labels}, "exp_annotations": annotations}
