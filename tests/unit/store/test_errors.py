"""What an error of the database means, by its SQLSTATE."""

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tidemark.store.errors import is_refused, is_unavailable, reason

UNAVAILABLE = [
    errors.AdminShutdown, errors.CannotConnectNow, errors.ConnectionException, errors.DeadlockDetected,
    errors.DiskFull, errors.IdleInTransactionSessionTimeout, errors.InvalidCatalogName, errors.InvalidPassword,
    errors.IoError, errors.LockNotAvailable, errors.OutOfMemory, errors.QueryCanceled,
    errors.ReadOnlySqlTransaction, errors.SerializationFailure, errors.TooManyConnections,
]  # fmt: skip
REFUSED = [
    errors.CheckViolation, errors.ForeignKeyViolation, errors.InvalidTextRepresentation,
    errors.NotNullViolation, errors.NumericValueOutOfRange, errors.ProgramLimitExceeded, errors.UntranslatableCharacter,
]  # fmt: skip


@pytest.mark.parametrize("kind", UNAVAILABLE)
def test_what_passes_is_unavailable_and_no_fault_of_the_rows(kind: type[psycopg.Error]) -> None:
    wrapped = OperationalError("INSERT", {}, kind("reason\nDETAIL"))
    assert is_unavailable(kind())
    assert is_unavailable(wrapped)
    assert not is_refused(wrapped)
    assert reason(wrapped) == "reason"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_rows_are_to_blame_for_is_refused(kind: type[psycopg.Error]) -> None:
    wrapped = OperationalError("INSERT", {}, kind())
    assert is_refused(kind())
    assert is_refused(wrapped)
    assert not is_unavailable(wrapped)


@pytest.mark.parametrize("kind", [errors.UndefinedTable, errors.UndefinedColumn, errors.InsufficientPrivilege])
def test_a_schema_that_does_not_fit_is_neither(kind: type[psycopg.Error]) -> None:
    assert not is_unavailable(kind())
    assert not is_refused(kind())


def test_a_connection_that_broke_without_a_word_is_unavailable() -> None:
    for error in (psycopg.OperationalError("server closed"), psycopg.InterfaceError("closed"), PoolTimeout()):
        assert is_unavailable(error)
        assert not is_refused(error)
    assert not is_unavailable(ValueError())
