"""`tidemark serve`: the API, in one process or several."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.supervisors import Multiprocess

from ..inference.model import cores
from ..serving.counters import MULTIPROCESS_FOLDER
from ..settings import Settings, warn_of_unknown_variables
from ..spool.spool import Spool
from ..store import engine as engines
from .checks import check
from .listening import bind, reserve_grpc_port, warn_if_open
from .parent import exit_with_supervisor, has_supervisor
from .serve_options import ServeOptions
from .uvicorn_protocol import BoundedHttpProtocol

DRAIN_SECONDS = 6  # seconds for open requests to end, once no new ones are accepted


def serve(options: ServeOptions) -> None:
    """Run the API until SIGTERM or SIGINT; start-up errors are raised before a port is opened."""
    exit_with_supervisor()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again once it has stopped
    settings = Settings.load()
    options = options.completed(settings)
    if not has_supervisor():
        warn_of_unknown_variables()
        warn_if_open(settings, options.host)
    with engines.database(settings) as url:
        os.environ["TIDEMARK_DATABASE_URL"] = url
        options.export()
        check(options, url)
        sockets = bind(options.host, options.port)
        reserved = reserve_grpc_port(options)
        Spool.create(settings.data_dir / "spool").close()
        if options.workers > 1:
            os.environ.setdefault("TIDEMARK_INFERENCE_THREADS", str(max(1, cores() // options.workers)))
        config = uvicorn.Config(
            "tidemark.server.worker:worker",
            factory=True,
            http=BoundedHttpProtocol,
            ws="none",  # no endpoint has any; old and new releases of uvicorn and websockets do not go together
            workers=options.workers,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # they are read where they matter, see `app`
            timeout_keep_alive=settings.keep_alive,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        with _shared_metrics(options.workers):
            if options.workers > 1:
                Multiprocess(config, sockets=sockets).run()
                for listener in reserved:
                    listener.close()
                return
            server = uvicorn.Server(config)
            server.run(sockets=sockets)
            if not server.started:
                sys.exit(1)


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Give several workers a folder where prometheus_client adds up what they count."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="tidemark-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[MULTIPROCESS_FOLDER] = folder
        yield
