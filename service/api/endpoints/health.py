"""Whether this process lives, and whether it may get traffic."""

import asyncio

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy import Engine

from ...errors import DatabaseError
from ...store import engine as engines
from ...store import schema
from ...store.errors import DATABASE_ERRORS
from ..problems import documented
from ..server_state import ServerState, State

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str


class Readiness(BaseModel):
    ready: bool
    model: str
    models: list[str]
    database: str
    spool: str
    stopping: bool = False


@router.get("/healthz", summary="The process lives")
async def healthz() -> Health:
    """Answer as long as the event loop turns."""
    return Health(status="ok")


@router.get("/readyz", summary="The server may get traffic", responses=documented(503))
async def readyz(state: State, response: Response) -> Readiness:
    """Ready while predictions can be logged: in the database, or in the spool until the database is back.

    A server that has received a signal to stop is not ready, so that load balancers send it no further traffic.
    """
    readiness_report = await readiness(state)
    response.status_code = 200 if readiness_report.ready else 503
    return readiness_report


async def readiness(state: ServerState) -> Readiness:
    """Return whether the server may get traffic, and what each part of it says."""
    try:
        database = await state.database()
    except TimeoutError:
        database = "does not answer: predictions wait in the spool"
    spool = "full" if await asyncio.to_thread(state.spool.full) else "accepting"
    stopping = state.stopping.is_set()
    names = [model.name for model in state.models.served]
    return Readiness(
        ready=spool == "accepting" and not database.startswith("the database schema") and not stopping,
        model=names[0],
        models=names,
        database=database,
        spool=spool,
        stopping=stopping,
    )


def database_state(engine: Engine) -> str:
    """Return what the database can do for a server, in words."""
    try:
        schema.check(engine)
        return "read-only: predictions wait in the spool" if engines.read_only(engine) else "current"
    except DatabaseError as error:
        return str(error)
    except DATABASE_ERRORS:
        return "unavailable: predictions wait in the spool"
