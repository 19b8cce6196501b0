"""Addresses of a server, for those who listen and for those who follow links."""

import socket

import pytest

from tidemark.errors import ConfigurationError
from tidemark.server import listening


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("photos.example.org", "http://photos.example.org:8000"),
    ],
)
def test_a_link_names_the_host(host: str, expected: str) -> None:
    assert listening.link(host, 8000) == expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0:0:0:0:0:0:0:0"])
def test_a_link_to_all_addresses_names_the_machine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    assert listening.link(host, 8000) == "http://localhost:8000"
    monkeypatch.setattr(socket, "gethostname", lambda: "no-such-host.invalid")
    assert listening.link(host, 8000) == "http://127.0.0.1:8000"


def test_a_host_that_is_not_ours_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:8000"):
        listening.bind("192.0.2.1", 8000)
