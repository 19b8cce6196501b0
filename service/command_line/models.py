"""Commands for models: their bundles and references."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import BundleOption, JsonOption, print_facts

models = typer.Typer(help="Models and their bundles.", no_args_is_help=True)
references = typer.Typer(help="References: the model's predictions of held-out training data.", no_args_is_help=True)
commands = typer.Typer()


class PowerTable(StrEnum):
    """Whether `reference build` makes its table of detectable shifts."""

    AUTO = "auto"
    FULL = "full"
    NONE = "none"


@models.command("init")
def model_init(
    onnx: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="Any ONNX classifier, or a folder with one as Hugging Face Optimum writes it."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write the bundle to.")],
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: the file's name.")] = None,
    version: Annotated[str, typer.Option(help="Version of the model.")] = "1",
    labels: Annotated[Path | None, typer.Option(help="Text file with one label a line.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="How pixels are prepared: unit (0..1, the default), raw (0..255), imagenet, torchvision, "
            "torchvision-v2, timm, clip, caffe or tf."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Height and width of an input whose size is free.")
    ] = None,
    channels: Annotated[int | None, typer.Option(help="1 or 3, for an input whose channels are free.")] = None,
    preprocessor: Annotated[
        Path | None, typer.Option(help="preprocessor_config.json of Transformers or config.json of timm.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "--scores", help="Output (or tensor) with the class scores.")
    ] = None,
    embedding: Annotated[str | None, typer.Option(help="Tensor of the graph that is the embedding.")] = None,
    activation: Annotated[
        str | None, typer.Option(help="What makes scores probabilities: none, softmax, sigmoid or normalise.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Inspect an ONNX classifier, find its embedding and write a bundle."""
    from ..commands.model_init import init_model, parse_size
    from ..inference.model_examination import Hints

    hints = Hints(parse_size(size), channels, output, embedding, activation, preprocessor)
    facts = init_model(onnx, out, name, version, labels, preset, hints)
    for text in facts["notes"]:
        print(f"note: {text}", file=sys.stderr)
    print_facts(facts, as_json, "{bundle}: {model}, input {input}, {labels} labels of {output}, embedding {embedding}")


@models.command("check")
def model_check(
    bundle: BundleOption,
    images: Annotated[Path, typer.Option("--images", help="Folder of class folders, or .npz with images and labels.")],
    limit: Annotated[int, typer.Option(min=50, help="Use a random, stratified part of this size.")] = 500,
    as_json: JsonOption = False,
) -> None:
    """Measure accuracy, calibration and speed on labelled images, and try the usual preprocessing mistakes."""
    from ..commands.model_check import check_model

    checked = check_model(bundle, images, limit)
    print_facts(
        checked.to_json(),
        as_json,
        "{model}: accuracy {accuracy:.4f} on {images} images, mean confidence {mean_confidence:.4f}, calibration error "
        "{calibration_error:.4f}, log loss {log_loss:.4f}, {images_per_second:.0f} images/s "
        "({model_images_per_second:.0f} by the model alone)",
    )
    if checked.variants and not as_json:
        print("other ways to prepare the input, by accuracy, equal ones by log loss:")
    for variant in checked.variants if not as_json else ():
        print(f"  with {variant.change}: accuracy {variant.accuracy:.4f}, log loss {variant.log_loss:.4f}")
    for text in checked.advice if not as_json else ():
        print(f"advice: {text}")


@references.command("build")
def reference_build(
    bundle: BundleOption,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of class folders, or .npz with images and labels.")
    ] = None,
    arrays: Annotated[
        Path | None,
        typer.Option(
            "--arrays", help=".npz of what the model answered: embeddings, probabilities, labels, properties."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=50, help="Use a random, stratified part of this size.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write an .npz instead of storing in Postgres.")] = None,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Keep small pictures of up to 512 images, for the pages.")
    ] = False,
    power: Annotated[
        PowerTable,
        typer.Option(
            help="Smallest shifts that would be detected: auto takes at most a fifth of the time; full; none.",
        ),
    ] = PowerTable.AUTO,
    rehearsals: Annotated[
        bool,
        typer.Option(
            help="Run the model over synthetic shifts of up to 600 labelled images, at most 5 minutes: what accuracy "
            "they cost, and what accuracy live traffic has.",
        ),
    ] = True,
    picture: Annotated[Path | None, typer.Option("--picture", help="SVG file for what the model survives.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Store the model's predictions of held-out training data: run it over images, or read its answers."""
    from ..commands.reference import build_reference
    from ..commands.rehearse import survival_lines

    facts = build_reference(bundle, images, limit, out, thumbnails, arrays, power.value, rehearsals, picture)
    accuracy = "" if facts["accuracy"] is None else ", accuracy {accuracy:.4f}"
    print_facts(facts, as_json, "reference of {model}: {rows} rows" + accuracy + ", stored as {stored}")
    if not as_json and facts["rehearsals"]:
        print("\n".join(survival_lines(facts["rehearsals"])))
    if not as_json:
        print("when the detector would raise an alarm on another mix of classes:")
        for row in facts["detectable"]:
            print(f"  {row['text']}")
    if not as_json and facts["power"]:
        print("smallest shift that four of five windows show at level .01:")
        for shift in facts["power"]:
            least = "none tried" if shift["smallest"] is None else f"{shift['smallest']:g} {shift['unit']}"
            print(f"  window of {shift['window_size']:4d}: {shift['shift']:22s} {least}")
    if not as_json and power == PowerTable.AUTO and not facts["power_complete"]:
        print("the table of detectable shifts was cut short: --power full makes all of it")


@commands.command()
def check(
    reference: Annotated[Path, typer.Option("--reference", help="Reference .npz.")],
    window: Annotated[Path | None, typer.Option("--window", help="Window .npz.")] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Folder with model.onnx and model.toml, for --images.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Instead of a window: folder of images or .npz, which the bundle's model reads."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Test one window offline: exit 0 in control, 1 drifted."""
    from ..commands.check import check as compare

    report = compare(reference, window, bundle, images)
    print_facts(report.to_dict(), as_json, "{kind}: p = {p_value:.4g}. {summary}")
    estimate = report.performance
    if not as_json and estimate is not None:
        interval = f"({estimate.low:.3f} to {estimate.high:.3f})"
        print(f"estimated accuracy {estimate.estimated_accuracy:.3f} {interval} by {estimate.method}. {estimate.note}")
    raise typer.Exit(1 if report.drifted else 0)
