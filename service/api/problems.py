"""Errors over HTTP: RFC 9457 problem JSON for every one of them.

Under `/v2` a problem has one more member, `error`: in which clients of the Open Inference Protocol expect its text.
"""

import asyncio
import http
import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from psycopg import DataError
from psycopg import Error as DriverError
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import InvalidPredictions, NothingToLabel, Overloaded, TidemarkError, UnknownModel
from ..inference.images import NotAnImage, TooManyPixels
from ..inference.model import ModelFailed
from ..inference.predictor import TooManyImages
from ..store.errors import is_unavailable, original_error, reason

CLIENT_CLOSED_REQUEST = 499  # nginx' status for a client that has gone before its answer; nobody receives it
TITLES = {CLIENT_CLOSED_REQUEST: "Client Closed Request"}

logger = logging.getLogger(__name__)


class ProblemBody(BaseModel):
    """RFC 9457, section 3."""

    type: str
    title: str
    status: int
    detail: str


class Problem(HTTPException):
    """An answer that is an error.

    Parameters
    ----------
    status : int
    detail : str
        What was expected, what came, and what to do.
    headers : Mapping[str, str] or None
    members : Mapping[str, object] or None
        Further members of the answer's JSON.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.status = status
        self.members = members or {}

    def response(self, path: str) -> Response:
        body = {
            "type": "about:blank",
            "title": title(self.status),
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        if path == "/v2" or path.startswith("/v2/"):
            body["error"] = self.detail
        return Response(orjson.dumps(body), self.status, self.headers, media_type="application/problem+json")


def title(status: int) -> str:
    """Return the name of an HTTP status."""
    return TITLES.get(status) or http.HTTPStatus(status).phrase


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the problems that an endpoint may answer."""
    return {
        status: {
            "description": title(status),
            "content": {"application/problem+json": {"schema": ProblemBody.model_json_schema()}},
        }
        for status in statuses
    }


def unavailable(detail: str, retry_after: int = 1) -> Problem:
    """Return a 503 that says when to come again."""
    return Problem(503, detail, {"Retry-After": str(retry_after)})


def first_error(error: ValidationError | RequestValidationError) -> str:
    """Return the first error that pydantic reports as one sentence."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place, message = first["loc"], first["msg"]
    else:
        place, message = error.errors()[0]["loc"], error.errors()[0]["msg"]
    return ": ".join(filter(None, (".".join(map(str, place)), message)))


def _overloaded(error: Overloaded) -> Problem:
    return unavailable(str(error), error.retry_after)


def _database_problem(error: Exception) -> Problem:
    """Return what an error of the database means: it is unavailable, it refuses a value, or the program is wrong."""
    if isinstance(original_error(error), DataError):
        logger.warning("request refused by the database: %s", reason(error))
        return Problem(422, "a value is larger than can be stored, or holds a NUL")
    if is_unavailable(error):
        logger.warning("request failed, the database is unavailable: %s", reason(error))
        return unavailable("the database cannot be reached right now", retry_after=5)
    logger.error("request failed, the database refuses the statement: %s", reason(error), exc_info=error)
    return Problem(500, "the database refuses this request; the log of the server says why")


def _http_problem(error: HTTPException) -> Problem:
    """Return an error of the framework as a problem; a body that is no JSON is 422 whatever makes it unreadable.

    FastAPI answers 422 to a body with wrong syntax and 400 to one that is not UTF-8 or is nested too deep.
    """
    if error.status_code == 400 and isinstance(error.__cause__, (ValueError, RecursionError)):
        return Problem(422, "body: JSON in UTF-8 was expected; the body cannot be decoded")
    return Problem(error.status_code, str(error.detail), error.headers)


PROBLEMS: dict[type[Exception], Callable[[Any], Problem]] = {
    Problem: lambda error: Problem(error.status, error.detail, error.headers, error.members),
    HTTPException: _http_problem,
    RequestValidationError: lambda error: Problem(422, first_error(error)),
    Overloaded: _overloaded,
    ModelFailed: lambda error: Problem(503, str(error)),
    UnknownModel: lambda error: Problem(404, str(error)),
    NothingToLabel: lambda error: Problem(409, str(error)),
    InvalidPredictions: lambda error: Problem(422, str(error)),
    NotAnImage: lambda error: Problem(400, f"image {error.item}: {error}"),
    TooManyPixels: lambda error: Problem(413, f"image {error.item}: {error}"),
    TooManyImages: lambda error: Problem(413, str(error)),
    ClientDisconnect: lambda _: Problem(CLIENT_CLOSED_REQUEST, "the client has closed the connection"),
    DBAPIError: _database_problem,
    DriverError: _database_problem,
    PoolTimeout: _database_problem,
}  # what each expected error means over HTTP; a subclass comes before its base


def problem_of(error: Exception) -> Problem | None:
    """Return the problem that an expected error is over HTTP, and None for an error of the program.

    It is a new one, which a frame can hold that the error has come through: it does not refer to that frame.
    """
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind](error)
    return None


def status_of(error: BaseException) -> int:
    """Return the HTTP status with which an error is answered."""
    if isinstance(error, Problem):
        return error.status
    if isinstance(error, asyncio.CancelledError):  # the caller has gone, or its deadline is over
        return CLIENT_CLOSED_REQUEST
    if isinstance(error, (TidemarkError, ClientDisconnect)):
        problem = problem_of(error)
        return 500 if problem is None else problem.status
    return 500


def unexpected(path: str) -> Response:
    """Return the response to an error of the program, which the log of the server describes."""
    return Problem(500, "an unexpected error; the server's log has it").response(path)


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    async def expected(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem is None:
            raise error
        return problem.response(request.scope["path"])

    for kind in PROBLEMS:
        app.add_exception_handler(kind, expected)

    @app.exception_handler(Exception)
    async def _unexpected_error(request: Request, _: Exception) -> Response:
        return unexpected(request.scope["path"])
