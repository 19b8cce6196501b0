"""The models that were ever served or watched, and their streams."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert

from ..errors import ReferenceMismatch
from ..model_key import ModelKey
from .tables import models, references, streams


class RegisteredModel(NamedTuple):
    """A model as it is registered."""

    id: int
    name: str  # name:version
    sha256: str
    labels: list[str]


def register(
    connection: Connection,
    name: str,
    version: str,
    sha256: str,
    labels: list[str],
    former_sha256: str | None = None,
) -> int:
    """Record a model and its stream; return the model's id.

    The file and the labels under a name and version may change until a reference pins them.

    Parameters
    ----------
    former_sha256 : str or None
        The SHA-256 under which an earlier release of Tidemark pinned the same model.

    Raises
    ------
    ReferenceMismatch
        A reference was built with another model file of the same name and version, or with other labels.
    """
    earlier = find(connection, name, version)
    if earlier is not None and _has_pinned_size(connection, earlier.id):
        if earlier.labels != labels:
            raise ReferenceMismatch(
                f"{name}:{version} has a reference built with other labels, or with the same in another order: "
                "what is logged would change its meaning; give this model a new version"
            )
        if earlier.sha256 not in (sha256, former_sha256):
            raise ReferenceMismatch(
                f"{name}:{version} has a reference built with another model file or other settings in model.toml "
                f"({earlier.sha256[:12]}…, this one is {sha256[:12]}…): give this model a new version"
            )
    statement = insert(models).values(name=name, version=version, sha256=sha256, labels=labels)
    statement = statement.on_conflict_do_update(
        index_elements=[models.c.name, models.c.version], set_={"sha256": sha256, "labels": labels}
    )
    model_id = int(connection.execute(statement.returning(models.c.id)).scalar_one())
    connection.execute(insert(streams).values(model_id=model_id).on_conflict_do_nothing())
    return model_id


def find(connection: Connection, name: str, version: str) -> RegisteredModel | None:
    """Return a model, or None."""
    row = connection.execute(_query().where(models.c.name == name, models.c.version == version)).one_or_none()
    return None if row is None else RegisteredModel(**row._asdict())


def load_registered(connection: Connection) -> list[RegisteredModel]:
    """Return every model."""
    return [RegisteredModel(**row._asdict()) for row in connection.execute(_query())]


def ids(connection: Connection) -> dict[str, int]:
    """Return every model's id by its `name:version`."""
    rows = connection.execute(select(models.c.id, models.c.name, models.c.version))
    return {str(ModelKey(row.name, row.version)): row.id for row in rows}


def pin_embedding_size(connection: Connection, model_id: int, size: int) -> int:
    """Return the size of a model's embeddings, which is `size` unless an earlier one had another."""
    pinned_size = func.coalesce(models.c.embedding_size, size)
    statement = update(models).where(models.c.id == model_id).values(embedding_size=pinned_size)
    return int(connection.execute(statement.returning(models.c.embedding_size)).scalar_one())


def embedding_sizes(connection: Connection, model_ids: Sequence[int]) -> dict[int, int]:
    """Return the sizes of the embeddings of those models where they are pinned."""
    query = select(models.c.id, models.c.embedding_size)
    rows = connection.execute(query.where(models.c.id.in_(model_ids), models.c.embedding_size.is_not(None)))
    return {row.id: row.embedding_size for row in rows}


def labels(connection: Connection) -> set[str]:
    """Return every label of every model."""
    return {label for row in connection.execute(select(models.c.labels)) for label in row.labels}


def _query() -> Select[tuple[int, str, str, list[str]]]:
    c = models.c
    return select(c.id, (c.name + ":" + c.version).label("name"), c.sha256, c.labels)


def _has_pinned_size(connection: Connection, model_id: int) -> bool:
    query = select(references.c.id).where(references.c.model_id == model_id).limit(1)
    return connection.execute(query).first() is not None
