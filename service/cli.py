"""The command line: every subcommand of `tidemark`, each a few lines that call a room."""

import gc
import signal
import sys
from typing import Annotated, NoReturn

import typer

from . import __version__, logs
from .command_line import backtests, labels, models, processes, streams
from .errors import TidemarkError
from .server import init_process

EXIT_USER_ERROR = 2  # exit code of an error that the user can correct
EXIT_UNAVAILABLE = 1  # exit code of a command during which the database became unavailable
TERMINATED = 128 + signal.SIGTERM  # exit code of a command that SIGTERM has ended
GARBAGE_THRESHOLD = 20_000  # new objects between two garbage collections: imports make several 100,000 that stay
UNIX_MODULES = ("fcntl", "pwd", "resource")  # modules of Python that other systems lack

app = typer.Typer(
    help="Serves an image classifier and notices when the world it was trained on has moved.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # brackets in a help text are meant, as in model:version[/tag=value]
)

for group, name in (
    (models.models, "model"),
    (models.references, "reference"),
    (processes.databases, "db"),
    (streams.streams, "stream"),
    (labels.labels, "label"),
):
    app.add_typer(group, name=name)
for module in (processes, models, streams, labels, backtests):
    app.add_typer(module.commands)


def main() -> None:
    """Run the command line; an error meant for the user is one line and exit code 2."""
    init_process.continue_as_child()
    gc.set_threshold(GARBAGE_THRESHOLD)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # leave what is open, such as the database
    logs.configure()
    try:
        app()
    except TidemarkError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        if error.name not in UNIX_MODULES:
            raise
        _fail(f"this command needs Linux or macOS: Python's module {error.name} does not exist on {sys.platform}")
    except Exception as error:
        if not _is_of_the_database(error):
            raise
        from .store.errors import is_unavailable, reason

        if is_unavailable(error):  # not a mistake of the user: `tidemark up` starts the process again
            _fail(f"the database is unavailable: {reason(error)}", EXIT_UNAVAILABLE)
        _fail(f"the database refused: {reason(error)}")


def _is_of_the_database(error: Exception) -> bool:
    """Check whether an error comes from the ways to Postgres, without importing them for commands that need none."""
    from .store.errors import DATABASE_ERRORS

    return isinstance(error, DATABASE_ERRORS)


def _fail(reason: str, code: int = EXIT_USER_ERROR) -> NoReturn:
    print(f"tidemark: {reason}", file=sys.stderr)
    raise SystemExit(code) from None


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"tidemark {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serves an image classifier and notices when the world that it was trained on has changed."""


if __name__ == "__main__":
    main()
