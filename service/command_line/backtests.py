"""The command that replays logged traffic through other settings."""

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from .options import TIMES, JsonOption, utc

commands = typer.Typer()


@commands.command()
def backtest(
    stream: Annotated[str, typer.Option("--stream", help="model:version[/tag=value], as `/drift` names it.")],
    since: Annotated[dt.datetime, typer.Option("--since", formats=TIMES, help="Start of the span, in UTC.")],
    until: Annotated[
        dt.datetime | None, typer.Option("--until", formats=TIMES, help="End of the span, in UTC. Default: now.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting to be tried; repeatable, and several values of one name are compared.",
        ),
    ] = None,
    changes: Annotated[
        list[dt.datetime] | None,
        typer.Option(
            "--change",
            formats=TIMES,
            help="When the traffic really changed; repeatable. Default: what stored alerts estimated.",
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="SVG file to draw the comparison in.")] = None,
    dask: Annotated[
        str | None,
        typer.Option("--dask", help="Address of a Dask scheduler, or `local` for a cluster on this machine."),
    ] = None,
    parts: Annotated[
        int,
        typer.Option(
            min=1,
            max=1000,
            help="Parts of the log that are replayed side by side, for --dask. Each begins with 20,000 predictions of "
            "the part before, so that incidents near a border are approximate.",
        ),
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Replay logged traffic through other settings: what would have alarmed, when, next to what happened."""
    from ..commands.backtest import command, comparison, presentation

    end = dt.datetime.now(dt.UTC) if until is None else utc(until)
    moments = [utc(moment) for moment in changes or ()]
    outcome = command.backtest(stream, utc(since), end, assignments or (), moments, dask, parts)
    if picture is not None:
        presentation.draw(outcome, picture)
    print(json.dumps(comparison.to_json(outcome), indent=2)) if as_json else presentation.show(outcome)
