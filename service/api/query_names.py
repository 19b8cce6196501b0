"""Names in queries, such as `?stream=m:1+adapted/site=New York`: a plus sign is a plus or a space."""

from urllib.parse import unquote, unquote_plus

from starlette.requests import Request


def names_in_query(request: Request, parameter: str) -> tuple[str, ...]:
    """Return what a query parameter may mean, the likelier first; nothing if the query does not have it.

    Forms and HTTP libraries write a space as `+`, and a plus as `%2B`. People who type an address leave a plus as it
    is. Names hold both, so that both readings are returned if they differ, for the caller to take the one that exists.
    """
    for pair in request.scope["query_string"].decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name) == parameter:
            return tuple(dict.fromkeys((unquote_plus(value), unquote(value))))
    return ()
