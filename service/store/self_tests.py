"""The last self-test of the detector of each reference that streams are compared with."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from .tables import models, references, self_tests, streams

t = self_tests.c


@dataclass(frozen=True)
class SelfTestRow:
    """The last self-test of a model's present reference; without `ran_at` there was none yet."""

    model_name: str
    model_version: str
    reference_id: int
    ran_at: dt.datetime | None
    succeeded_at: dt.datetime | None
    delay: int | None
    reason: str | None


def due(connection: Connection, age: dt.timedelta) -> list[int]:
    """Return the ids of references in use with a calibration whose last self-test is older than an age, or missing."""
    r = references.c
    query = (
        select(r.id)
        .outerjoin(self_tests, t.reference_id == r.id)
        .where(r.id.in_(_in_use()), r.calibration.is_not(None))
        .where(or_(t.ran_at.is_(None), t.ran_at < func.now() - age))
    )
    return list(connection.execute(query.order_by(r.id)).scalars())


def save(connection: Connection, reference_id: int, at: dt.datetime, delay: int | None, reason: str | None) -> None:
    """Store the outcome of a self-test: its delay, or the reason of its failure."""
    values = {"reference_id": reference_id, "ran_at": at, "delay": delay, "reason": reason}
    if delay is not None:
        values["succeeded_at"] = at
    statement = insert(self_tests).values(values)
    changed = {name: statement.excluded[name] for name in values if name != "reference_id"}
    connection.execute(statement.on_conflict_do_update(index_elements=[t.reference_id], set_=changed))


def load_all(connection: Connection) -> list[SelfTestRow]:
    """Return the last self-test of each reference in use."""
    query = (
        select(
            models.c.name.label("model_name"),
            models.c.version.label("model_version"),
            references.c.id.label("reference_id"),
            t.ran_at,
            t.succeeded_at,
            t.delay,
            t.reason,
        )
        .join(models, models.c.id == references.c.model_id)
        .outerjoin(self_tests, t.reference_id == references.c.id)
        .where(references.c.id.in_(_in_use()))
        .order_by(models.c.name, models.c.version)
    )
    return [SelfTestRow(**row._asdict()) for row in connection.execute(query)]


def _in_use() -> Select[tuple[int | None]]:
    s = streams.c
    return select(s.reference_id).where(s.retired_at.is_(None), s.reference_id.is_not(None), s.slice == "")
