"""Runs the tasks of a backtest: one after the other in this process, or on a Dask cluster."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from ...inference.cpu_quota import cores
from .span_replay import SpanResult, SpanTask, replay_span

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"  # the address that starts a cluster on this machine
CONNECT_SECONDS = 10.0  # seconds in which a scheduler must answer


def run_tasks(tasks: Sequence[SpanTask], address: str | None) -> list[SpanResult]:
    """Return the result of each task, in their order.

    Parameters
    ----------
    address : str or None
        The address of a Dask scheduler whose workers have this version of Tidemark and reach the database, "local"
        for a cluster on this machine, or None for this process.

    Raises
    ------
    ConfigurationError
        Dask is not installed, or its scheduler does not answer.
    """
    if address is None:
        return [replay_span(task) for task in tasks]
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise ConfigurationError("--dask needs the extra `backtest`: pip install 'tidemark[backtest]'") from None
    if address == LOCAL:
        workers = max(min(cores(), len(tasks)), 1)
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            return _results(client, tasks)
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--dask: no scheduler answers at {address}: {error}") from None
    with client:
        return _results(client, tasks)


def _results(client: "Client", tasks: Sequence[SpanTask]) -> list[SpanResult]:
    """Submit the tasks under keys without their arguments, for those hold the database's address."""
    futures = [
        client.submit(replay_span, task, key=f"backtest-{number}", pure=False) for number, task in enumerate(tasks)
    ]
    results: list[SpanResult] = client.gather(futures)
    return results
