"""What can be seen of the dashboards without Grafana: that each panel can be read, and is found by it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.shipped_queries import DASHBOARDS, ROOT, dashboard, panels

PROVISIONING = ROOT / "docker/grafana/provisioning"
VARIABLES = ["model", "version", "slice"]
COLUMNS = 24  # of Grafana's grid

BOARDS = pytest.mark.parametrize("board", [dashboard(path) for path in DASHBOARDS], ids=[p.stem for p in DASHBOARDS])


def test_there_are_two() -> None:
    assert [path.name for path in DASHBOARDS] == ["drift.json", "service.json"]


@BOARDS
def test_every_panel_has_title_text_unit_and_legend(board: dict[str, Any]) -> None:
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] for target in panel["targets"])
        if panel["type"] != "stat":
            assert panel["options"]["legend"]["showLegend"]


@BOARDS
def test_it_has_the_variables(board: dict[str, Any]) -> None:
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", *VARIABLES]
    text = str(board["panels"])
    assert all(f"${name}" in text for name in VARIABLES)


def test_alerts_are_annotations_of_the_service() -> None:
    (annotation,) = annotations("service.json")
    assert annotation["expr"].startswith("ALERTS{")


def test_incidents_are_annotations_with_their_severity_and_what_people_made_of_them() -> None:
    incidents, handled = annotations("drift.json")
    for annotation in (incidents, handled):
        assert "(tidemark_incidents_open{" in annotation["expr"]
        assert annotation["expr"].endswith(" > 0")
    assert "severity" in incidents["tagKeys"]
    assert 'state=~"acknowledged|muted"' in handled["expr"]


def annotations(name: str) -> list[dict[str, Any]]:
    (path,) = (path for path in DASHBOARDS if path.name == name)
    enabled: list[dict[str, Any]] = [item for item in dashboard(path)["annotations"]["list"] if item["enable"]]
    return enabled


@BOARDS
def test_everything_asks_the_datasource_that_the_reader_chooses(board: dict[str, Any]) -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources/prometheus.yml").read_text())["datasources"]
    choice, *others = board["templating"]["list"]
    assert (choice["type"], choice["query"]) == ("datasource", source["type"])
    queries = [target for panel in panels(board) for target in panel["targets"] if "datasource" in target]
    asking = [*panels(board), *queries, *board["annotations"]["list"], *others]
    assert all(item["datasource"] == {"type": source["type"], "uid": "${datasource}"} for item in asking)
    assert source["uid"] not in str(board)


@BOARDS
def test_panels_do_not_overlap(board: dict[str, Any]) -> None:
    occupied: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert columns.stop <= COLUMNS
        assert not cells & occupied
        occupied |= cells


@BOARDS
def test_ids_are_unique(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_provider_reads_the_folder_that_compose_mounts() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards/tidemark.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["./docker/grafana/dashboards"] == provider["options"]["path"]
    assert Path(mounts["./docker/grafana/provisioning"]) == Path("/etc/grafana/provisioning")
