"""A server of two workers and a monitor behind PgBouncer in transaction mode, from images to a webhook."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import verify
from tests.support.assets import Assets
from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.pgbouncer import PROGRAM, pgbouncer
from tests.support.postgres import SeparatePostgres

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs PgBouncer")

FAULTS = ("interrupted", "prepared statement", "Traceback", "unavailable", "refused", "unsupported startup")


@pytest.fixture
def installation(tmp_path: Path, postgres: SeparatePostgres, assets: Assets) -> Iterator[Installation]:
    with pgbouncer(postgres.database("pooled"), tmp_path, pool_size=20) as url:
        pooled = Installation(tmp_path, url, assets)
        yield pooled
        pooled.close()


def test_drift_is_found_and_delivered_behind_a_pooler(installation: Installation) -> None:
    installation.start("serve", workers=2)
    installation.start("monitor")
    installation.ready()
    with Load(installation) as load:
        load.more(200)
        load.kinds["digits:1"] = "covariate"
        installation.until(lambda: installation.receiver.requests, "a webhook")
    installation.settle()
    verify.predictions_once(installation, load.ids)
    assert set(load.statuses) == {200}
    for name in ("serve", "monitor"):
        assert installation.stop(name) == 0
        text = installation.log(name).read_text()
        assert not [line for line in text.splitlines() if any(fault in line for fault in FAULTS)]
