"""Commands for labels of logged predictions."""

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, print_facts

labels = typer.Typer(help="Predictions to be labelled, and their labels.", no_args_is_help=True)
commands = typer.Typer()


@commands.command("relabel")
@labels.command("next")
def label_next(
    stream: Annotated[str, typer.Option("--stream", help="model:version[/tag=value], as `/drift` names it.")],
    count: Annotated[
        int | None, typer.Option("--count", min=10, max=1000, help="Draw so many among the newest predictions first.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the list: a .csv, or a .json for Label Studio.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List predictions to label next, drawn with known probabilities, and the accuracy that their labels show."""
    from ..commands.label import label_next as draw

    facts = draw(stream, count, out)
    print_facts(
        facts, as_json, "{stream}: {labelled} labelled and {open} open of those drawn among {population} predictions"
    )
    if as_json:
        return
    if facts["accuracy"]:
        print("accuracy {accuracy:.4f} ({low:.4f} to {high:.4f}) on {labels} labels".format(**facts["accuracy"]))
    for target in facts["targets"]:
        print(f"{target['labels']} more labels for ± {100 * target['half_width']:g} points")
    for item in facts["requests"] if out is None else ():
        print(item["id"])


@labels.command("import")
def label_import(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with id and label, or Label Studio's .json.")],
    as_json: JsonOption = False,
) -> None:
    """Send the labels of a file back, as `/feedback` does."""
    from ..commands.label import import_labels

    print_facts(import_labels(path), as_json, "{accepted} labels stored, {refused} refused")
