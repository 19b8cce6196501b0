"""The command line: every subcommand of `tidemark`, each a few lines that call a room."""

import datetime as dt
import json
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from . import __version__, logs
from .errors import TidemarkError
from .server import init_process

EXIT_USER_ERROR = 2  # exit code of an error that the user can correct
EXIT_UNAVAILABLE = 1  # exit code of a command during which the database became unavailable
TERMINATED = 128 + signal.SIGTERM  # exit code of a command that SIGTERM has ended
UNIX_MODULES = ("fcntl", "pwd", "resource")  # modules of Python that other systems lack

app = typer.Typer(
    help="Serves an image classifier and notices when the world it was trained on has moved.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
model = typer.Typer(help="Models and their bundles.", no_args_is_help=True)
reference = typer.Typer(help="What held-out training data looks like through a model.", no_args_is_help=True)
app.add_typer(model, name="model")
app.add_typer(reference, name="reference")
db = typer.Typer(help="The database.", no_args_is_help=True)
app.add_typer(db, name="db")

stream = typer.Typer(help="The streams of predictions that are watched.", no_args_is_help=True)
app.add_typer(stream, name="stream")

label = typer.Typer(help="Predictions to be labelled, and their labels.", no_args_is_help=True)
app.add_typer(label, name="label")

BundleOption = Annotated[Path, typer.Option("--bundle", help="Folder with model.toml and model.onnx.")]
BundlesOption = Annotated[
    list[Path],
    typer.Option(
        "--bundle",
        help="Folder with model.toml, and model.onnx unless served elsewhere; repeatable, the first is the default.",
    ),
]
ShadowOption = Annotated[
    list[Path] | None,
    typer.Option("--shadow", help="Bundle that is shown the default model's images and does not answer; repeatable."),
]
PriorsOption = Annotated[
    list[Path] | None,
    typer.Option("--correct-priors", help="A remedy's priors.json: its model answers as they say; repeatable."),
]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535)]
GrpcPortOption = Annotated[
    int | None,
    typer.Option("--grpc-port", min=1, max=65535, help="Port of the Open Inference Protocol over gRPC."),
]
HostOption = Annotated[str, typer.Option("--host", help="Address to listen on.")]
TIMES = [
    "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S",
]  # fmt: skip
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on standard output.")]


class PowerTable(StrEnum):
    """Whether `reference build` makes its table of detectable shifts."""

    AUTO = "auto"
    FULL = "full"
    NONE = "none"


def main() -> None:
    """Run the command line; an error meant for the user is one line and exit code 2."""
    init_process.continue_as_child()
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


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tidemark {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serves an image classifier and notices when the world that it was trained on has changed."""


@app.command()
def demo(
    port: PortOption = 8000,
    once: Annotated[bool, typer.Option("--once", help="End by itself; exit 0 only if all went as it should.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the scripted traffic.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """The main job on real scans of digits: serve, plant shifts, find and name them, deliver the alerts."""
    from .demo.run import run

    outcome = run(port=port, once=once, seed=seed, quiet=as_json)
    if as_json:
        print(json.dumps(outcome.to_dict(), indent=2))
    raise typer.Exit(0 if outcome.ok else 1)


@model.command("init")
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
    from .commands.model_init import init_model, parse_size
    from .inference.bundle_builder import Hints

    hints = Hints(parse_size(size), channels, output, embedding, activation, preprocessor)
    facts = init_model(onnx, out, name, version, labels, preset, hints)
    for text in facts["notes"]:
        print(f"note: {text}", file=sys.stderr)
    _say(facts, as_json, "{bundle}: {model}, input {input}, {labels} labels of {output}, embedding {embedding}")


@reference.command("build")
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
    as_json: JsonOption = False,
) -> None:
    """Store what data held out from fitting looks like to the model: run it over images, or take what it answered."""
    from .commands.reference import build_reference

    facts = build_reference(bundle, images, limit, out, thumbnails, arrays, power.value)
    accuracy = "" if facts["accuracy"] is None else ", accuracy {accuracy:.4f}"
    _say(facts, as_json, "reference of {model}: {rows} rows" + accuracy + ", stored as {stored}")
    if not as_json and facts["power"]:
        print("smallest shift that four of five windows show at level .01:")
        for row in facts["power"]:
            least = "none tried" if row["smallest"] is None else f"{row['smallest']:g} {row['unit']}"
            print(f"  window of {row['window_size']:4d}: {row['shift']:22s} {least}")
    if not as_json and power == PowerTable.AUTO and not facts["power_complete"]:
        print("the table of detectable shifts was cut short: --power full makes all of it")


@model.command("check")
def model_check(
    bundle: BundleOption,
    images: Annotated[Path, typer.Option("--images", help="Folder of class folders, or .npz with images and labels.")],
    limit: Annotated[int, typer.Option(min=50, help="Use a random, stratified part of this size.")] = 500,
    as_json: JsonOption = False,
) -> None:
    """Measure accuracy, calibration and speed on labelled images, and try the usual preprocessing mistakes."""
    from .commands.model_check import check_model

    facts = check_model(bundle, images, limit)
    _say(
        facts,
        as_json,
        "{model}: accuracy {accuracy:.4f} on {images} images, mean confidence {mean_confidence:.4f}, calibration error "
        "{calibration_error:.4f}, {images_per_second:.0f} images/s ({model_images_per_second:.0f} by the model alone)",
    )
    for variant in facts["variants"] if not as_json else ():
        print(f"  with {variant['change']}: accuracy {variant['accuracy']:.4f}")
    for text in facts["advice"] if not as_json else ():
        print(f"advice: {text}")


@app.command()
def migrate(as_json: JsonOption = False) -> None:
    """Bring the database schema up to date."""
    from .settings import Settings
    from .store import engine, schema

    with engine.database(Settings.load()) as url:
        connected = engine.connect(url)
        engine.check(connected)
        revision = schema.migrate(connected)
        connected.dispose()
    _say({"revision": revision}, as_json, "schema is at revision {revision}")


@db.command("vacuum-report")
def db_vacuum_report(as_json: JsonOption = False) -> None:
    """Show what the tables and days weigh, what a prediction costs, and what to do about it."""
    from .commands.storage_report import show, vacuum_report

    report = vacuum_report()
    print(json.dumps(report, indent=2)) if as_json else show(report)


@app.command()
def up(
    bundle: BundlesOption,
    shadow: ShadowOption = None,
    port: PortOption = 8000,
    host: HostOption = "127.0.0.1",
    grpc_port: GrpcPortOption = None,
    correct_priors: PriorsOption = None,
) -> None:
    """All of it in one terminal: database, migrations, API and monitor."""
    from .server.options import ServeOptions
    from .server.supervisor import up as start

    options = ServeOptions(tuple(bundle), host, port, 1, tuple(correct_priors or ()), tuple(shadow or ()), grpc_port)
    raise typer.Exit(start(options))


@app.command()
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
    from .server.options import ServeOptions
    from .server.serve import serve as start

    priors, shadows = tuple(correct_priors or ()), tuple(shadow or ())
    start(ServeOptions(tuple(bundle), host, port, workers, priors, shadows, grpc_port))


@app.command()
def monitor() -> None:
    """A monitor worker alone, for several machines."""
    from .server.monitor import monitor as start

    start()


@app.command()
def calibrate(
    stream: Annotated[str, typer.Option("--stream", help="model:version[/tag=value], as `/drift` names it.")],
    since: Annotated[dt.datetime, typer.Option("--since", formats=TIMES, help="Start of the calm span, in UTC.")],
    until: Annotated[dt.datetime, typer.Option("--until", formats=TIMES, help="Its end.")],
    as_json: JsonOption = False,
) -> None:
    """Declare a span of logged traffic calm: its bursts and cycles no longer raise alarms."""
    from .commands.calibrate import calibrate as learn

    facts = learn(stream, _utc(since), _utc(until))
    if "warning" in facts:
        print(f"warning: {facts['warning']}", file=sys.stderr)
    _say(facts, as_json, "{stream}: calm over {predictions} predictions, {design_effect} of which count as one")


@app.command()
def accept(
    stream: Annotated[str, typer.Option("--stream", help="model:version[/tag=value], as `/drift` names it.")],
    since: Annotated[dt.datetime | None, typer.Option("--since", formats=TIMES, help="Start of the span, UTC.")] = None,
    until: Annotated[dt.datetime | None, typer.Option("--until", formats=TIMES, help="Its end; now.")] = None,
    what: Annotated[str, typer.Option("--what", help="What is normal now: mix (of classes), images or all.")] = "all",
    note: Annotated[str, typer.Option("--note", help="Why; kept with the baseline.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Compare with what was normal before.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a span of logged traffic what a stream is compared with; its alerts end as accepted."""
    from .commands.accept import accept_span, undo_acceptance

    if undo:
        _say(undo_acceptance(stream), as_json, "{stream}: baseline of {rows} predictions undone; now {baseline}")
        return
    end = None if until is None else _utc(until)
    facts = accept_span(stream, None if since is None else _utc(since), end, what, note)
    _say(
        facts, as_json, "{stream}: {rows} predictions since {since} are the baseline ({what}); {resolved} alerts ended"
    )


@stream.command("list")
def stream_list(as_json: JsonOption = False) -> None:
    """List the streams, the retired ones too, and their states."""
    from .commands.streams import list_streams, show

    rows = list_streams()
    print(json.dumps({"streams": rows}, indent=2)) if as_json else show(rows)


@stream.command("retire")
def stream_retire(
    name: Annotated[str, typer.Argument(metavar="NAME", help="model:version[/tag=value], as `/drift` names it.")],
    as_json: JsonOption = False,
) -> None:
    """End a stream with its alerts; the next prediction of that name makes it a new one."""
    from .commands.streams import retire_stream

    _say(retire_stream(name), as_json, "{retired} retired, {resolved} alerts ended")


@label.command("next")
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
    from .commands.label import label_next as draw

    facts = draw(stream, count, out)
    _say(facts, as_json, "{stream}: {labelled} labelled and {open} open of those drawn among {population} predictions")
    if as_json:
        return
    if facts["accuracy"]:
        print("accuracy {accuracy:.4f} ({low:.4f} to {high:.4f}) on {labels} labels".format(**facts["accuracy"]))
    for target in facts["targets"]:
        print(f"{target['labels']} more labels for ± {100 * target['half_width']:g} points")
    for item in facts["requests"] if out is None else ():
        print(item["id"])


@label.command("import")
def label_import(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with id and label, or Label Studio's .json.")],
    as_json: JsonOption = False,
) -> None:
    """Send the labels of a file back, as `/feedback` does."""
    from .commands.label import import_labels

    _say(import_labels(path), as_json, "{accepted} labels stored, {refused} refused")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check the installation: exit 0 healthy, 1 with what is wrong and what to do about it."""
    from .commands.doctor import doctor as examine
    from .commands.doctor import to_dict

    checks = examine()
    print(json.dumps(to_dict(checks), indent=2) if as_json else "\n".join(map(str, checks)))
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@app.command()
def remedy(
    stream: Annotated[str, typer.Option("--stream", help="model:version, as `/drift` names it.")],
    since: Annotated[dt.datetime, typer.Option("--since", formats=TIMES, help="Start of the drifted span, in UTC.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for report.html, report.json and what is exported.")],
    until: Annotated[dt.datetime | None, typer.Option("--until", formats=TIMES, help="Its end; now.")] = None,
    names: Annotated[
        list[str] | None, typer.Option("--remedy", help="Make this one; repeatable. Those for what is found.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", help="The model, for what runs or exports it.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Labelled held-out images, as for `reference build`.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also export what does not improve.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a span of logged traffic into remedies, each with its measured improvement."""
    from .commands.remedy import create_remedies

    end = dt.datetime.now(dt.UTC) if until is None else _utc(until)
    facts = create_remedies(stream, _utc(since), end, out, names or (), bundle, images, force)
    facts["report"] = str(out / "report.html")
    facts["found"] = " and ".join(facts["kinds"]) or "no"
    _say(facts, as_json, "{stream}: {found} shift in {predictions} predictions; see {report}")
    for made in facts["remedies"] if not as_json else ():
        gains = ", ".join(f"{gain['metric']} {gain['improvement']:+.4f}" for gain in made["gains"])
        print(f"  {made['name']}: {gains or 'not measured'}; wrote {', '.join(made['files']) or 'nothing'}")
    for entry in facts["skipped"] if not as_json else ():
        print(f"  {entry['name']} {entry['reason']}")


@app.command()
def check(
    reference: Annotated[Path, typer.Option("--reference", help="Reference .npz.")],
    window: Annotated[Path, typer.Option("--window", help="Window .npz.")],
    as_json: JsonOption = False,
) -> None:
    """Test one window offline: exit 0 in control, 1 drifted."""
    from .commands.check import check as compare

    report = compare(reference, window)
    _say(report, as_json, "{kind}: p = {p_value:.4g}. {summary}")
    raise typer.Exit(1 if report["drifted"] else 0)


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _say(facts: dict[str, Any], as_json: bool, sentence: str) -> None:
    print(json.dumps(facts, indent=2) if as_json else sentence.format(**facts))


if __name__ == "__main__":
    main()
