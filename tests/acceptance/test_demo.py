"""`tidemark demo --once`: the first command of the README does what it shows."""

import json
from pathlib import Path

import pytest

from tests.support.command import tidemark
from tests.support.processes import free_port
from tidemark.demo.stages import LIMIT

pytest.importorskip("sklearn", reason="the demo's images are scikit-learn's")


@pytest.mark.slow
def test_each_planted_shift_is_named_and_delivered_and_calm_traffic_raises_nothing(tmp_path: Path) -> None:
    result = tidemark("demo", "--once", "--json", "--port", free_port(), seconds=900, DATA_DIR=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    outcome = json.loads(result.stdout)
    assert outcome["ok"]
    assert [stage["found"] for stage in outcome["stages"]] == [stage["planted"] for stage in outcome["stages"]]
    assert {stage["planted"] for stage in outcome["stages"]} == {"none", "covariate", "label", "concept"}
    assert all((stage["alerts"] > 0) == (stage["planted"] != "none") for stage in outcome["stages"])
    delays = [stage["predictions_until_alarm"] for stage in outcome["stages"] if stage["planted"] != "none"]
    assert all(0 < delay <= LIMIT for delay in delays)
