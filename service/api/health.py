"""Whether this process lives, and whether it may get traffic."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.api.problems import documented
from service.errors import DatabaseError
from service.store import engine as engines
from service.store import schema

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str


class Readiness(BaseModel):
    ready: bool
    model: str
    models: list[str]
    database: str
    spool: str


@router.get("/healthz", summary="The process lives")
def healthz() -> Health:
    """Answer as long as the event loop and a thread are free to."""
    return Health(status="ok")


@router.get("/readyz", summary="The server may get traffic", responses=documented(503))
def readyz(request: Request, response: Response) -> Readiness:
    """Ready while predictions can be kept: in the database, or in the spool until the database is back."""
    state = request.app.state
    database = "current"
    try:
        schema.check(state.engine)
        if engines.read_only(state.engine):
            database = "read-only: predictions wait in the spool"
    except DatabaseError as error:
        database = str(error)
    except (DBAPIError, PoolTimeout):
        database = "away: predictions wait in the spool"
    spool = "full" if state.spool.full() else "accepting"
    ready = spool == "accepting" and not database.startswith("the database schema")
    response.status_code = 200 if ready else 503
    names = [served.name for served in state.models.all]
    return Readiness(ready=ready, model=names[0], models=names, database=database, spool=spool)
