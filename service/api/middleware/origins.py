"""Protection of a server without API keys, and of stored passwords, against pages of other origins.

A browser sends requests for any page. DNS rebinding makes a page of another site read what only this machine may see;
a form or a script of another site can post without reading the answer. Both are recognised by their headers.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from ..problems import Problem
from .api_keys import OPEN_PATHS
from .request_head import Head

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
FOREIGN_SITES = (b"cross-site", b"same-site")  # values of `Sec-Fetch-Site`: another site, or another host of the same
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class HostCheck:
    """Refuses requests over the loopback address whose `Host` is not a name of this machine (DNS rebinding).

    Parameters
    ----------
    names : Collection[str]
        Further host names, such as that of a proxy on this machine which passes its own on. `*` allows all.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = LOOPBACK_NAMES | {name.lower() for name in names}

    def __call__(self, scope: Scope, head: Head) -> Problem | None:
        server = scope.get("server")
        if server is None or not is_loopback(server[0]) or "*" in self._names or scope["path"] in OPEN_PATHS:
            return None
        name = host_name(head.get(b"host", b""))
        if name in self._names:
            return None
        return Problem(
            421, f"the host {name[:100]!r} is not known: add it to TIDEMARK_ALLOWED_HOSTS, or set TIDEMARK_PUBLIC_URL"
        )


class OriginCheck:
    """Refuses requests that a page of another origin has made a browser send.

    Parameters
    ----------
    origins : Sequence[str]
        Origins whose pages may send requests, as in `TIDEMARK_CORS_ORIGINS`. `*` allows all.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.lower() for origin in origins)

    def __call__(self, scope: Scope, head: Head) -> Problem | None:
        origin = head.get(b"origin")
        site = head.get(b"sec-fetch-site")
        if origin is None and site is None:
            return None  # not a browser, or one that follows a link
        text = "" if origin is None else origin.decode("latin-1").lower()
        if "*" in self._origins or text in self._origins:
            return None
        if scope["method"] in SAFE_METHODS:
            # A person who follows a link from a chat may read; a script, a frame or an image of another page may not.
            is_foreign = site in FOREIGN_SITES and head.get(b"sec-fetch-mode") != b"navigate"
        else:
            is_foreign = site in FOREIGN_SITES or (site is None and not _same_host(text, head))
        if not is_foreign:
            return None
        return Problem(
            403, "requests of pages of another origin are refused; TIDEMARK_CORS_ORIGINS lists those that may"
        )


def is_loopback(address: str) -> bool:
    """Return whether an address reaches this machine only."""
    return address.startswith("127.") or address in ("::1", "localhost")


def origin_of(url: str) -> str:
    """Return the origin of a URL: its scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@lru_cache(maxsize=256)
def host_name(host: bytes) -> str:
    """Return a `Host` header without its port, in lower case and without the brackets of IPv6."""
    try:
        return (urlsplit(f"//{host.decode('latin-1')}").hostname or "").lower()
    except ValueError:
        return ""


def _same_host(origin: str, head: Head) -> bool:
    try:
        return "://" in origin and urlsplit(origin).netloc == head.get(b"host", b"").decode("latin-1").lower()
    except ValueError:
        return False
