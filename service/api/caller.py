"""The caller of a request, identified by its API key."""

from dataclasses import dataclass

from fastapi import Request
from starlette.types import Scope

KEY_DIGITS = 8  # first digits of a key's SHA-256 that are shown, so that people recognise it


@dataclass(frozen=True)
class Caller:
    """The sender of a request.

    Parameters
    ----------
    name : str
        The caller as recorded with an action: the start of the key's hash with its scopes; `anonymous` without API
        keys.
    is_admin : bool
        Whether the sender may act, not only read.
    may_label : bool
        Whether the sender may send labels.
    """

    name: str
    is_admin: bool
    may_label: bool


ANONYMOUS = Caller("anonymous", is_admin=True, may_label=True)  # the caller if no API keys are configured


def identify(scope: Scope, sha256: str, scopes: set[str]) -> None:
    """Record the key of a request in its ASGI scope."""
    name = f"key {sha256[:KEY_DIGITS]} ({'+'.join(sorted(scopes))})"
    is_admin = "admin" in scopes
    scope.setdefault("state", {})["caller"] = Caller(name, is_admin, may_label=is_admin or "feedback" in scopes)


def caller_of(request: Request) -> Caller:
    """Return the sender of a request."""
    caller: Caller = getattr(request.state, "caller", ANONYMOUS)
    return caller
