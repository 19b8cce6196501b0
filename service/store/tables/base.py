"""Parts of all tables: their metadata, a type of Postgres, and the time at which a row was made."""

from typing import Any

from sqlalchemy import Column, DateTime, MetaData, func
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class XID8(UserDefinedType[str]):
    """A transaction id that never wraps (Postgres 13 and newer); travels as decimal text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


ischema_names["xid8"] = XID8  # for reflection


def created_at() -> Column[Any]:
    """Return the column of the time at which a row was made."""
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())
