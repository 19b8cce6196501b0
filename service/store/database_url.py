"""Postgres URLs as libpq and SQLAlchemy write them, read into the parameters of a connection.

Nothing here quotes a URL in an error: a URL that cannot be read may hold a password anywhere.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from ..errors import ConfigurationError

VARIABLE = "TIDEMARK_DATABASE_URL"
EXPECTED = f"{VARIABLE}: expected postgresql://user:password@host:port/database"
ESCAPES = "write @ : / ? # % and spaces in a user name or password as %40 %3A %2F %3F %23 %25 %20"
SCHEMES = ("postgresql", "postgres")
DRIVER = "postgresql+psycopg"
REST = r"(?P<hosts>[^@/?]*)(?:/(?P<database>[^?@]*))?(?:\?(?P<query>.*))?"
URL = re.compile(rf"(?P<scheme>[A-Za-z0-9+]+)://(?:(?P<user>[^:/?]*?)(?::(?P<password>[^/?]*))?@)?{REST}", re.S)
# As URL, for passwords in which `/` or `?` were not escaped.
LENIENT_URL = re.compile(rf"(?P<scheme>[A-Za-z0-9+]+)://(?P<user>[^:/?@]*):(?P<password>.*?)@{REST}", re.S)
HOST = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>\d*))?")
MAX_PORT = 65535


@dataclass(frozen=True)
class DatabaseUrl:
    """The parameters of a connection, by libpq's names, without Tidemark's defaults."""

    parameters: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> "DatabaseUrl":
        """Read a URL.

        Several hosts may be given in libpq's form, `host1:5432,host2:5433`, or in SQLAlchemy's, as repeated `host=`.

        Raises
        ------
        ConfigurationError
            It is not a URL of Postgres, a port is not a number, or libpq does not know a parameter.
        """
        errors = []
        for pattern in (URL, LENIENT_URL):
            if (match := pattern.fullmatch(url.strip())) is not None:
                try:
                    return cls(_parameters(match))
                except ConfigurationError as error:
                    errors.append(error)
        raise errors[0] if errors else ConfigurationError(f"{EXPECTED}; {ESCAPES}")

    def render(self) -> str:
        """Return a URL that this class, libpq and SQLAlchemy read alike, password included."""
        rest = dict(self.parameters)
        user, password = rest.pop("user", ""), rest.pop("password", None)
        login = quote(user, safe="") + ("" if password is None else f":{quote(password, safe='')}")
        database = quote(rest.pop("dbname", ""), safe="")
        query = f"?{urlencode(rest, quote_via=quote, safe='')}" if rest else ""
        return f"{DRIVER}://{login}{'@' if login else ''}/{database}{query}"


def _parameters(match: re.Match[str]) -> dict[str, str]:
    scheme = match["scheme"].lower()
    base, _, driver = scheme.partition("+")
    if base not in SCHEMES:
        raise ConfigurationError(f"{VARIABLE}: Postgres is needed, got {base}")
    hosts, ports = _hosts(match["hosts"].split(","))
    parameters = {
        "user": unquote(match["user"] or ""),
        "password": unquote(match["password"] or ""),
        "host": ",".join(hosts),
        "port": ",".join(ports) if any(ports) else "",
        "dbname": unquote(match["database"] or ""),
    }
    parameters = {name: value for name, value in parameters.items() if value}
    parameters |= _query(match["query"] or "", plus_is_space=bool(driver))
    try:
        make_conninfo("", **parameters)
    except ProgrammingError:  # its text has the name, which is part of the password if that has an unescaped `&`
        raise ConfigurationError(f"{VARIABLE}: unknown parameter after `?`; write & in a value as %26") from None
    return parameters


def _hosts(entries: Iterable[str]) -> tuple[list[str], list[str]]:
    hosts, ports = [], []
    for entry in entries:
        match = HOST.fullmatch(entry)
        port = (match["port"] or "") if match else ""
        if match is None or (port and not 1 <= int(port) <= MAX_PORT):
            raise ConfigurationError(f"{EXPECTED}, with a port of 1 to {MAX_PORT} and [ ] around IPv6; {ESCAPES}")
        hosts.append(match["v6"] or unquote(match["name"]))
        ports.append(port)
    return hosts, ports


def _query(query: str, plus_is_space: bool) -> dict[str, str]:
    """Read the parameters behind the question mark; SQLAlchemy writes spaces as `+` and repeats hosts."""
    pairs = parse_qsl(query if plus_is_space else query.replace("+", "%2B"), keep_blank_values=True)
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    if "host" in values:
        entries = [entry for value in values["host"] for entry in value.split(",")]
        split = [(entry, "") if entry.startswith(("/", "@")) else _split(entry) for entry in entries]
        values["host"] = [",".join(host for host, _ in split)]
        if any(port for _, port in split):
            values.setdefault("port", [",".join(port for _, port in split)])
    return {name: value[-1] for name, value in values.items()}


def _split(entry: str) -> tuple[str, str]:
    """Split `host:port`; an IPv6 address without brackets has several colons and no port."""
    host, _, port = entry.partition(":")
    return (host, port) if port.isdecimal() else (entry, "")
