"""The order of the log travels with the data: through a dump and a restore, and past transactions that never end."""

import subprocess
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import Engine, text

from tests.support.predictions import new_ids, write
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import feedback, installation_id, label_log, log, models, schema
from tidemark.store.embedded.programs import program_folder
from tidemark.store.feedback import FeedbackRow
from tidemark.store.logged import Logged, logged

D, K = 4, 2
SPENT = 3000  # transactions, so that ids of the old cluster are far ahead of those of a new one


def predictions(count: int) -> Logged:
    return logged("m:1", new_ids(count), np.tile([0.25, 0.75], (count, 1)), np.ones((count, D)))


def label(key: UUID, model_id: int) -> FeedbackRow:
    probabilities = np.array([0.25, 0.75], "<f2").tobytes()
    return FeedbackRow(key, model_id, 1, 1, probabilities)


def run(program: str, *arguments: object) -> None:
    subprocess.run([program_folder(None) / program, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def spend_transactions(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text("DO $$ BEGIN FOR n IN 1..%d LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$" % SPENT)  # noqa: UP031
        )


def transaction_id(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one())


def test_a_log_continues_at_its_position_after_a_restore_into_a_younger_cluster(tmp_path: Path) -> None:
    spool, dump = uuid4(), tmp_path / "dump.sql"
    with engines.database(Settings(data_dir=tmp_path / "old")) as url:
        engine = engines.connect(url)
        schema.migrate(engine)
        with engine.begin() as connection:
            model_id = models.register(connection, "m", "1", "a" * 64, ["x", "y"])
        spend_transactions(engine)
        rows = predictions(5)
        with engine.begin() as connection:
            write(connection, rows, spool=spool)
        with engine.begin() as connection:
            feedback.save(connection, [label(rows.uuids[0], model_id)])
            identity = installation_id.identity(connection)
        old = transaction_id(engine)
        engine.dispose()
        subprocess.run(
            [program_folder(None) / "pg_dump", "--no-owner", "--file", dump, engines.conninfo(url)], check=True
        )
    with engines.database(Settings(data_dir=tmp_path / "new")) as url:
        subprocess.run(
            [program_folder(None) / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump, engines.conninfo(url)],
            check=True,
        )
        engine = engines.connect(url)
        assert transaction_id(engine) < old - SPENT / 2
        with engine.connect() as connection:
            assert installation_id.identity(connection) == identity
            unread = log.read(connection, model_id, 3, 10, D, K)
        more = predictions(4)
        with engine.begin() as connection:
            assert write(connection, rows, more, spool=spool) == 4  # the rows before them are replayed
        with engine.begin() as connection:
            feedback.save(connection, [label(more.uuids[0], model_id)])
        with engine.connect() as connection:
            new = log.read(connection, model_id, 5, 10, D, K)
            labels = label_log.read(connection, model_id, 1, 10, D, K)
        engine.dispose()
    assert unread is not None
    assert (unread.positions.tolist(), unread.uuids) == ([4, 5], rows.uuids[3:])
    assert new is not None
    assert (new.positions.tolist(), new.uuids) == ([6, 7, 8, 9], more.uuids)
    assert labels is not None
    assert (labels.positions.tolist(), labels.ids) == ([2], more.uuids[:1])


def test_a_prepared_transaction_that_nobody_ends_hides_nothing(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with engines.database(settings) as url:
        engine = engines.connect(url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ALTER SYSTEM SET max_prepared_transactions = 1"))
        engine.dispose()
    with engines.database(settings) as url:
        engine = engines.connect(url)
        schema.migrate(engine)
        with engine.begin() as connection:
            model_id = models.register(connection, "m", "1", "a" * 64, ["x", "y"])
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE somebodys (id integer)"))
            connection.execute(text("PREPARE TRANSACTION 'forgotten'"))
            connection.rollback()
        with engine.begin() as connection:
            write(connection, predictions(3))
        with engine.connect() as connection:
            batch = log.read(connection, model_id, 0, 10, D, K)
            assert connection.execute(text("SELECT count(*) FROM pg_prepared_xacts")).scalar_one() == 1
        engine.dispose()
    assert batch is not None
    assert batch.positions.tolist() == [1, 2, 3]
