"""Errors over HTTP: RFC 9457 problem JSON for every one of them.

Under `/v2` a problem has one more member, `error`: where clients of the Open Inference Protocol look for its text.
"""

import http
import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from ..errors import Overloaded
from ..inference.session import ModelFailed
from .middleware.security_headers import HEADERS

logger = logging.getLogger(__name__)


class ProblemBody(BaseModel):
    """RFC 9457, section 3."""

    type: str
    title: str
    status: int
    detail: str


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    def response(self, path: str) -> Response:
        body = {
            "type": "about:blank",
            "title": http.HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if path == "/v2" or path.startswith("/v2/"):
            body["error"] = self.detail
        return Response(orjson.dumps(body), self.status, self.headers, media_type="application/problem+json")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the problems that an endpoint may answer."""
    return {
        status: {
            "description": http.HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": ProblemBody.model_json_schema()}},
        }
        for status in statuses
    }


def unavailable(detail: str, retry_after: int = 1) -> Problem:
    """Return a 503 that says when to come again."""
    return Problem(503, detail, {"Retry-After": str(retry_after)})


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return error.response(request.scope["path"])

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, str(error.detail), error.headers).response(request.scope["path"])

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        return Problem(422, described(error.errors())).response(request.scope["path"])

    @app.exception_handler(Overloaded)
    async def _overloaded(request: Request, error: Overloaded) -> Response:
        return unavailable(str(error), error.retry_after).response(request.scope["path"])

    @app.exception_handler(ModelFailed)
    async def _model(request: Request, error: ModelFailed) -> Response:
        return Problem(503, str(error)).response(request.scope["path"])

    @app.exception_handler(DataError)
    async def _value(request: Request, error: DataError) -> Response:
        logger.warning("request refused by the database: %s", str(error.orig).strip())
        return Problem(422, "a value is larger than can be stored, or holds a NUL").response(request.scope["path"])

    @app.exception_handler(DBAPIError)
    @app.exception_handler(PoolTimeout)
    async def _database(request: Request, error: Exception) -> Response:
        logger.warning("request failed, database away: %s", str(getattr(error, "orig", error)).strip())
        return unavailable("the database cannot be reached right now", retry_after=5).response(request.scope["path"])

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, _: Exception) -> Response:
        detail = "an unexpected error; the server's log has it"
        return Problem(500, detail, HEADERS).response(request.scope["path"])  # answered outside of the middleware


def described(errors: Any) -> str:
    """Return pydantic's errors as one sentence."""
    parts = [": ".join(filter(None, (".".join(map(str, error["loc"])), error["msg"]))) for error in errors[:3]]
    return "; ".join(parts)
