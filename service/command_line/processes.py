"""Commands that run Tidemark: all of it, one of its processes, or its demonstration; and its database."""

import json
import os
from typing import Annotated

import typer

from .options import (
    BundlesOption,
    GrpcPortOption,
    HostOption,
    JsonOption,
    PortOption,
    PriorsOption,
    ShadowOption,
    print_facts,
)

# Threads of linear algebra, which NumPy reads when it is imported. A monitor leaves a server on its machine the other
# cores, unless the environment decides, and sums have the same rounding errors whether `up` started it or not.
BLAS_THREADS = "OPENBLAS_NUM_THREADS"

commands = typer.Typer()
databases = typer.Typer(help="The database.", no_args_is_help=True)


@commands.command()
def up(
    bundle: BundlesOption,
    shadow: ShadowOption = None,
    port: PortOption = 8000,
    host: HostOption = "127.0.0.1",
    grpc_port: GrpcPortOption = None,
    correct_priors: PriorsOption = None,
) -> None:
    """All of it in one terminal: database, migrations, API and monitor."""
    from ..server.serve_options import ServeOptions
    from ..server.supervisor import up as start

    options = ServeOptions(tuple(bundle), host, port, 1, tuple(correct_priors or ()), tuple(shadow or ()), grpc_port)
    raise typer.Exit(start(options))


@commands.command()
def serve(
    bundle: BundlesOption,
    shadow: ShadowOption = None,
    port: PortOption = 8000,
    host: HostOption = "127.0.0.1",
    grpc_port: GrpcPortOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Server processes.")] = 1,
    correct_priors: PriorsOption = None,
) -> None:
    """The API alone, for several machines."""
    from ..server.serve import serve as start
    from ..server.serve_options import ServeOptions

    priors, shadows = tuple(correct_priors or ()), tuple(shadow or ())
    start(ServeOptions(tuple(bundle), host, port, workers, priors, shadows, grpc_port))


@commands.command()
def monitor() -> None:
    """A monitor worker alone, for several machines."""
    os.environ.setdefault(BLAS_THREADS, "1")
    from ..server.monitor_process import monitor as start

    start()


@commands.command()
def migrate(as_json: JsonOption = False) -> None:
    """Bring the database schema up to date."""
    from ..settings import Settings
    from ..store import engine, schema

    with engine.database(Settings.load()) as url:
        connected = engine.connect(url)
        engine.check(connected)
        revision = schema.migrate(connected)
        connected.dispose()
    print_facts({"revision": revision}, as_json, "schema is at revision {revision}")


@commands.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check the installation: exit 0 healthy, 1 with what is wrong and what to do about it."""
    from ..commands.doctor import doctor as examine
    from ..commands.doctor import to_dict

    checks = examine()
    print(json.dumps(to_dict(checks), indent=2) if as_json else "\n".join(map(str, checks)))
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@commands.command()
def demo(
    port: PortOption = 8000,
    once: Annotated[
        bool, typer.Option("--once", help="End after the last stage; exit 0 only if every stage went as planned.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated traffic.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """The main job on real scans of digits: serve, plant shifts, find and name them, deliver the alerts."""
    from ..demo.run import run

    outcome = run(port=port, once=once, seed=seed, quiet=as_json)
    if as_json:
        print(json.dumps(outcome.to_dict(), indent=2))
    raise typer.Exit(0 if outcome.ok else 1)


@databases.command("vacuum-report")
def db_vacuum_report(as_json: JsonOption = False) -> None:
    """Show what the tables and days weigh, what a prediction costs, and what to do about it."""
    from ..commands.storage_report import show, vacuum_report

    report = vacuum_report()
    print(json.dumps(report, indent=2)) if as_json else show(report)
