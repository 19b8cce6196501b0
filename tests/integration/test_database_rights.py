"""Roles that may do less than the owner of the tables, and databases that cannot be used."""

import datetime as dt
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from tidemark.errors import DatabaseError
from tidemark.store import engine as engines
from tidemark.store import predictions, rights, schema
from tidemark.store.raw_connection import raw

ROLES = iter(range(1_000_000))


@pytest.fixture
def role(server_url: str) -> Iterator[str]:
    name = f"Limited{next(ROLES)}"
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE ROLE "{name}" LOGIN'))
    yield name
    admin.dispose()


def connected(url: str, role: str) -> Engine:
    return engines.connect(make_url(url).set(username=role).render_as_string(hide_password=False))


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def refusal(engine: Engine) -> str:
    with pytest.raises(DatabaseError) as error:
        rights.check(engine)
    engine.dispose()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_migrate_names_the_grant_that_a_role_needs_to_create_tables(empty_url: str, role: str) -> None:
    engine = connected(empty_url, role)
    with pytest.raises(DatabaseError, match=f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"') as error:
        schema.migrate(engine)
    assert "\n" not in str(error.value)
    execute(empty_url, f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"')
    schema.migrate(engine)
    rights.check(engine)
    engine.dispose()
    execute(empty_url, f'REASSIGN OWNED BY "{role}" TO postgres', f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


def test_the_error_names_the_grant_that_a_role_without_access_needs(url: str, role: str) -> None:
    message = refusal(connected(url, role))
    assert "predictions" in message
    assert f'GRANT postgres TO "{role}"' in message


def test_the_error_names_the_grant_that_a_role_needs_to_create_partitions(url: str, role: str) -> None:
    execute(url, f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}"')
    assert f'GRANT postgres TO "{role}"' in refusal(connected(url, role))


def test_a_role_that_only_writes_suffices_while_a_monitor_makes_the_partitions(
    url: str, role: str, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    today = dt.datetime.now(dt.UTC).date()
    with engine.begin() as connection:
        predictions.ensure_partitions(raw(connection), [today, today + dt.timedelta(days=1)])
    execute(url, f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}"')
    limited = connected(url, role)
    rights.check(limited)
    limited.dispose()
    assert "a monitor must run as postgres" in caplog.text


def test_the_owner_and_its_members_pass(url: str, role: str) -> None:
    execute(url, f'GRANT postgres TO "{role}"')
    engine = connected(url, role)
    rights.check(engine)
    engine.dispose()


def test_a_search_path_in_the_url_holds_for_every_connection(empty_url: str) -> None:
    execute(empty_url, "CREATE SCHEMA tide")
    place = make_url(empty_url).update_query_dict({"options": "-csearch_path=tide"})
    address = engines.normalised(place.render_as_string(hide_password=False))
    engine = engines.connect(address)
    schema.migrate(engine)
    schema.check(engine)
    rights.check(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT to_regclass('tide.predictions') IS NOT NULL")).scalar_one()
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "1min"
    engine.dispose()


def test_numbers_that_json_cannot_hold_are_refused_before_postgres(engine: Engine) -> None:
    from sqlalchemy import bindparam
    from sqlalchemy.dialects.postgresql import JSONB
    from sqlalchemy.exc import StatementError

    query = text("SELECT :document").bindparams(bindparam("document", {"evidence": float("inf")}, JSONB))
    with engine.connect() as connection, pytest.raises((StatementError, ValueError), match="JSON compliant"):
        connection.execute(query)
