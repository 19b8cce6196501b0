"""Postgres URLs in every form that people write."""

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from tidemark.errors import ConfigurationError
from tidemark.store import engine as engines
from tidemark.store.database_url import DatabaseUrl
from tidemark.store.session_settings import SessionSettings

SECRET = "s3cr3t"
URLS = [
    ("postgresql://u:p%40s%2Fs@h:5/d", {"user": "u", "password": "p@s/s", "host": "h", "port": "5", "dbname": "d"}),
    ("postgres://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
    ("postgresql+psycopg://u:a+b@h/d", {"user": "u", "password": "a+b", "host": "h", "dbname": "d"}),
    ("postgresql://u:p@ss@h/d", {"user": "u", "password": "p@ss", "host": "h", "dbname": "d"}),
    ("postgresql://u:p/s?s#s@h/d", {"user": "u", "password": "p/s?s#s", "host": "h", "dbname": "d"}),
    ("postgresql://u:a b:%zz100%@h/d", {"user": "u", "password": "a b:%zz100%", "host": "h", "dbname": "d"}),
    ("postgresql://u@[::1]:5433/d", {"user": "u", "host": "::1", "port": "5433", "dbname": "d"}),
    ("postgresql://h1:5432,h2:5433/d", {"host": "h1,h2", "port": "5432,5433", "dbname": "d"}),
    ("postgresql:///d?host=h1:5432&host=h2:5433", {"host": "h1,h2", "port": "5432,5433", "dbname": "d"}),
    ("postgresql:///d?host=h1,h2&port=5432,5433", {"host": "h1,h2", "port": "5432,5433", "dbname": "d"}),
    ("postgresql://%2Fvar%2Frun/d", {"host": "/var/run", "dbname": "d"}),
    ("postgresql:///d?host=/my%20folder/a+b", {"host": "/my folder/a+b", "dbname": "d"}),
    ("postgresql+psycopg:///d?host=%2Fmy+folder%2Fa%2Bb", {"host": "/my folder/a+b", "dbname": "d"}),
    ("postgresql://h/my%20d?user=u&password=a%26b", {"host": "h", "dbname": "my d", "user": "u", "password": "a&b"}),
    ("postgresql://h/d?options=-csearch_path%3Dx", {"host": "h", "dbname": "d", "options": "-csearch_path=x"}),
]  # fmt: skip
BROKEN = [
    f"postgresql://u:{SECRET}@h:abc/d",
    f"postgresql://u:{SECRET}@h:99999/d",
    f"postgresql://u:{SECRET}@[::1/d",
    f"postgresql://u:{SECRET}@h1:1,h2:x/d",
    f"mysql://u:{SECRET}@h/d",
    f"postgresql://u/x:{SECRET}@h/d",
    f"postgresql://h/d?password=a&{SECRET}=b",
    f"host=h password={SECRET}",
    f"u:{SECRET}@h/d",
    "",
]


@pytest.mark.parametrize(("address", "parameters"), URLS)
def test_a_url_is_read_and_written_alike_by_all_readers(address: str, parameters: dict[str, str]) -> None:
    parsed = DatabaseUrl.parse(address)
    assert parsed.parameters == parameters
    rendered = parsed.render()
    assert DatabaseUrl.parse(rendered) == parsed
    assert conninfo_to_dict(rendered.replace("+psycopg", "", 1)) == parameters
    assert DatabaseUrl.parse(make_url(rendered).render_as_string(hide_password=False)) == parsed


@pytest.mark.parametrize("address", BROKEN)
def test_a_url_that_cannot_be_read_is_one_line_without_its_password(address: str) -> None:
    with pytest.raises(ConfigurationError, match="TIDEMARK_DATABASE_URL") as error:
        engines.normalised(address)
    assert SECRET not in str(error.value)
    assert "\n" not in str(error.value)


def test_values_of_the_url_win_over_our_defaults() -> None:
    url = "postgresql://h/d?connect_timeout=30&application_name=team-a&keepalives_idle=99&options=-csearch_path%3Dx"
    parameters = conninfo_to_dict(engines.conninfo(url, for_server=True))
    assert parameters["connect_timeout"] == "30"
    assert parameters["application_name"] == "team-a"
    assert parameters["keepalives_idle"] == "99"
    assert str(parameters["options"]).startswith("-csearch_path=x -c ")
    assert "idle_in_transaction_session_timeout=60s" in str(parameters["options"])
    assert conninfo_to_dict(engines.conninfo("postgresql://h/d"))["connect_timeout"] == "5"


def test_limits_that_the_url_sets_are_unchanged() -> None:
    limits = SessionSettings(60, 60, "-c idle_in_transaction_session_timeout=5min")
    assert "idle_in_transaction_session_timeout" not in limits.values(18_00_00)
    assert limits.values(17_00_00)["transaction_timeout"] == "60s"
    assert "transaction_timeout" not in limits.values(16_00_09)


def test_an_engine_does_not_show_its_password() -> None:
    engine = engines.connect(f"postgresql://u:{SECRET}@h/d?password={SECRET}")
    assert SECRET not in f"{engine!r} {engine.url} {engine.url.render_as_string(hide_password=False)}"
