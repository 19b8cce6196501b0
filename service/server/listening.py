"""Where a server listens, and under which address its pages can be opened."""

import ipaddress
import logging
import socket

from ..errors import ConfigurationError
from ..settings import Settings
from .serve_options import ServeOptions

LOOPBACK = "127.0.0.1"
BACKLOG = 2048  # connections that wait to be accepted, uvicorn's default

logger = logging.getLogger(__name__)


def bind(host: str, port: int, option: str = "--port", shared: bool = False) -> list[socket.socket]:
    """Return a socket for each address of a host; `::` also takes IPv4.

    Parameters
    ----------
    option : str
        The option that names the port, for the error.
    shared : bool
        Whether other processes may bind the same port, by SO_REUSEPORT, as long as these sockets are open.

    Raises
    ------
    ConfigurationError
        The host has no address here, or the port is in use.
    """
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6 and socket.has_dualstack_ipv6():
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
            listener.bind(address)
            listener.set_inheritable(True)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; try another {option}") from None
    return sockets


def reserve_grpc_port(options: ServeOptions) -> list[socket.socket]:
    """Return sockets that hold the port for gRPC, or none where it is not served.

    gRPC binds its port itself. For one process the sockets show that the port is free, and are closed. Several worker
    processes share the port: the sockets keep it, without listening, as long as the parent lives.

    Raises
    ------
    ConfigurationError
        The port is in use.
    """
    if options.grpc_port is None:
        return []
    for listener in bind(options.host, options.grpc_port, "--grpc-port"):
        listener.close()
    return bind(options.host, options.grpc_port, "--grpc-port", shared=True) if options.workers > 1 else []


def link(host: str, port: int) -> str:
    """Return a URL of the server that can be opened: a server on all addresses is named by its machine."""
    if is_any(host):
        name = socket.gethostname()
        try:
            socket.getaddrinfo(name, port)
        except OSError:
            name = LOOPBACK
        host = name
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_any(host: str) -> bool:
    """Return whether a host stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def warn_if_open(settings: Settings, host: str) -> None:
    """Warn of a server that other machines reach and that asks for no key."""
    if settings.api_keys or host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    logger.warning(
        "listening on %s without TIDEMARK_API_KEYS: everybody who reaches this machine may send predictions "
        "and labels, and read what was logged",
        host,
    )
