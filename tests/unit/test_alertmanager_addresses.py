"""Which addresses are those of Alertmanager's API, so that silences can be set there."""

import pytest

from tidemark.alerts.alertmanager_silences import has_silences
from tidemark.alerts.receivers import Reachability


@pytest.mark.parametrize(
    "address",
    [
        "http://alertmanager:9093/api/v2/alerts",
        "http://alertmanager:9093/api/v2/alerts/",
        "https://example.org/monitoring/alertmanager/api/v2/alerts",
        "https://example.org/api/v2/alerts?tenant=1",
    ],
)
def test_addresses_below_any_prefix_have_silences(address: str) -> None:
    assert has_silences(address)


@pytest.mark.parametrize("address", ["http://gateway/alerts", "http://alertmanager:9093/api/v1/alerts"])
def test_other_addresses_have_none_and_the_doctor_says_so(address: str) -> None:
    assert not has_silences(address)
    assert "are not silenced there" in Reachability(address, None, keeps_silences=False).text
