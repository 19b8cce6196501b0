"""Commands for streams: what they are compared with, their states, and remedies of their drift."""

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import TIMES, JsonOption, print_facts, utc

commands = typer.Typer()
streams = typer.Typer(help="The streams of predictions that are watched.", no_args_is_help=True)


@commands.command()
def calibrate(
    stream: Annotated[str, typer.Option("--stream", help="model:version[/tag=value], as `/drift` names it.")],
    since: Annotated[dt.datetime, typer.Option("--since", formats=TIMES, help="Start of the calm span, in UTC.")],
    until: Annotated[dt.datetime, typer.Option("--until", formats=TIMES, help="End of the calm span, in UTC.")],
    context: Annotated[
        str, typer.Option("--context", help="auto: what is normal at each hour is learnt from two days or more; none.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Declare a span of logged traffic calm: its bursts and cycles no longer raise alarms."""
    from ..commands.calibrate import calibrate as learn

    facts = learn(stream, utc(since), utc(until), context)
    if "warning" in facts:
        print(f"warning: {facts['warning']}", file=sys.stderr)
    learnt = "; what is normal depends on {context}" if facts["context"] else ""
    text = "{stream}: calm over {predictions} predictions, {design_effect} of which count as one"
    print_facts(facts, as_json, text + learnt)


@commands.command()
def accept(
    stream: Annotated[str, typer.Option("--stream", help="model:version[/tag=value], as `/drift` names it.")],
    since: Annotated[dt.datetime | None, typer.Option("--since", formats=TIMES, help="Start of the span, UTC.")] = None,
    until: Annotated[
        dt.datetime | None, typer.Option("--until", formats=TIMES, help="End of the span, in UTC. Default: now.")
    ] = None,
    what: Annotated[
        str, typer.Option("--what", help="What of the traffic is normal now: mix (of classes), images or all.")
    ] = "all",
    note: Annotated[str, typer.Option("--note", help="Reason; stored with the baseline.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the baseline before.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a span of logged traffic what a stream is compared with; its alerts end as accepted."""
    from ..commands.accept import accept_span, undo_acceptance

    if undo:
        print_facts(undo_acceptance(stream), as_json, "{stream}: baseline of {rows} predictions undone; now {baseline}")
        return
    end = None if until is None else utc(until)
    facts = accept_span(stream, None if since is None else utc(since), end, what, note)
    text = "{stream}: {rows} predictions since {since} are the baseline ({what}); {resolved} alerts ended"
    print_facts(facts, as_json, text + (". Note: {note}" if facts["note"] else ""))


@streams.command("list")
def stream_list(as_json: JsonOption = False) -> None:
    """List the streams, the retired ones too, and their states."""
    from ..commands.streams import list_streams, show

    rows = list_streams()
    print(json.dumps({"streams": rows}, indent=2)) if as_json else show(rows)


@streams.command("retire")
def stream_retire(
    name: Annotated[str, typer.Argument(metavar="NAME", help="model:version[/tag=value], as `/drift` names it.")],
    as_json: JsonOption = False,
) -> None:
    """End a stream with its alerts; the next prediction of that name makes it a new one."""
    from ..commands.streams import retire_stream

    print_facts(retire_stream(name), as_json, "{retired} retired, {resolved} alerts ended")


@commands.command()
def remedy(
    stream: Annotated[str, typer.Option("--stream", help="model:version, as `/drift` names it.")],
    since: Annotated[dt.datetime, typer.Option("--since", formats=TIMES, help="Start of the drifted span, in UTC.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for report.html, report.json and what is exported.")],
    until: Annotated[
        dt.datetime | None, typer.Option("--until", formats=TIMES, help="End of the span, in UTC. Default: now.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--remedy", help="Remedy to create; repeatable. Default: all that fit the kind of shift."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Bundle of the model, for remedies that run or export it.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Labelled held-out images, as for `reference build`.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also export what does not improve.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a span of logged traffic into remedies, each with its measured improvement."""
    from ..commands.remedy import create_remedies

    end = dt.datetime.now(dt.UTC) if until is None else utc(until)
    facts = create_remedies(stream, utc(since), end, out, names or (), bundle, images, force)
    headline = {"report": str(out / "report.html"), "found": " and ".join(facts["kinds"]) or "no"}
    print_facts({**facts, **headline}, as_json, "{stream}: {found} shift in {predictions} predictions; see {report}")
    if not as_json and facts["accuracy_lost"]:
        print(
            "  accuracy lost {accuracy:+.4f} ({low:+.4f} to {high:+.4f}), by {method}".format(**facts["accuracy_lost"])
        )
    for remedy in facts["remedies"] if not as_json else ():
        improvements = ", ".join(
            f"{improvement['metric']} {improvement['improvement']:+.4f}" for improvement in remedy["gains"]
        )
        print(f"  {remedy['name']}: {improvements or 'not measured'}; wrote {', '.join(remedy['files']) or 'nothing'}")
    for entry in facts["skipped"] if not as_json else ():
        print(f"  {entry['name']} {entry['reason']}")
