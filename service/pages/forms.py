"""Forms of pages: their fields, and the token by which a form is recognised as one of ours.

A form must hold the token that is also in a cookie, which no page of another site can read or send. Requests that a
browser sends for a page of another origin are refused before.
"""

import hmac
import secrets
from urllib.parse import parse_qs

from fastapi import Request, Response

from ..api.problems import Problem

MAX_FORM_BYTES = 20_000  # bytes of a form: a note of 2,000 characters, percent-encoded, and its token
TOKEN_COOKIE = "tidemark_form"  # noqa: S105 - the name of a cookie
TOKEN_BYTES = 24


def new_token(request: Request) -> str:
    """Return the token for the forms of a page: the browser's, or a new one."""
    return request.cookies.get(TOKEN_COOKIE) or secrets.token_urlsafe(TOKEN_BYTES)


def set_token(request: Request, response: Response, token: str | None) -> None:
    """Give the browser the token of the forms that a page shows, if there is one."""
    if token is not None and request.cookies.get(TOKEN_COOKIE) != token:
        secure = request.url.scheme == "https"
        response.set_cookie(TOKEN_COOKIE, token, httponly=True, samesite="strict", secure=secure)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form.

    Raises
    ------
    Problem
        413 for a form of more than MAX_FORM_BYTES, 415 for another content type, 422 for one that cannot be read.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "expected a form of this page")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise Problem(413, f"a form has at most {MAX_FORM_BYTES} bytes")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10, errors="strict")
    except ValueError:
        raise Problem(422, "the form cannot be read") from None
    return {name: values[-1] for name, values in fields.items()}


def check_token(request: Request, form: dict[str, str]) -> None:
    """Check that a form holds the token that its page gave to the browser.

    Raises
    ------
    Problem
        403 where it does not.
    """
    token, cookie = form.get("token", ""), request.cookies.get(TOKEN_COOKIE, "")
    if not cookie or not hmac.compare_digest(token.encode(), cookie.encode()):
        raise Problem(403, "the form does not come from this page, or its page is old: open it again")
