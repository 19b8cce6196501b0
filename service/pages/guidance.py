"""What each kind of shift and each test means, and what to do about it."""

import datetime as dt
import shlex

from ..alerts.first_contact import accept_command
from ..kinds import KIND_DESCRIPTIONS
from ..store.report_json import WindowReportJson

TESTS = {
    "mmd": ("Embeddings", "Does the cloud of embeddings look like the reference's?"),
    "mean": ("Mean", "Did the mean embedding move in a direction that rarely varies?"),
    "ks": ("Single scores", "Did any one score or direction move?"),
    "proportions": ("Predicted classes", "Are classes predicted as often as before?"),
    "properties": ("Image properties", "Do light, sharpness, noise or size look different?"),
    "residual": ("Beyond class shares", "Is something left once class shares are accounted for?"),
    "repeats": ("Repeats", "Does the same image come again more often than in the reference?"),
}
STEPS = {
    "covariate": (
        "Look at the least typical images and the properties that moved: camera, light, cropping, compression.",
        "If it is a fault, repair the camera or the pipeline; the alert resolves automatically after calm windows.",
        "If it is here to stay, label a sample of these images, augment the training set towards them and refit.",
    ),
    "label": (
        "Ask whether the classes that moved are really more or less frequent: season, campaign, a new customer.",
        "If so, correct the model's priors or refit with the report's importance weights; the images are as before.",
    ),
    "both": (
        "Look at the images first: the estimated class shares depend on a model that sees unfamiliar images.",
        "Repair the camera or the pipeline, or label a sample and refit towards these images.",
        "Then judge the class shares again, and correct the model's priors by them.",
    ),
    "concept": (
        "Check the labelling first: new annotators, a new guideline, classes swapped on the way.",
        "If the meaning changed, relabel recent images and refit: the model's old answers no longer hold.",
    ),
    "harm": (
        "Decide first whether the model may go on answering: it is wrong more often than on the reference.",
        "If another alert of the stream fires as well, it says what changed: see it for the cause and its remedy.",
        "Else label more images (`/label`), check the labelling, and refit on what came in since.",
    ),
    "unknown": (
        "Look at the least typical images, the properties that moved and the classes that are predicted now.",
        "Build the reference again with true labels: then Tidemark names the kind of a shift.",
    ),
    "repeats": (
        "Look for a frozen or covered camera, a client that retries, a looping video or a health probe.",
        "If these repeats are normal, declare a calm span that holds them.",
    ),
}
BEFORE_CHANGE = dt.timedelta(days=1)  # time before a change from which its backtest begins
MANUAL_URL = "https://github.com/tidemark/tidemark#what-to-do-about-a-shift"


def kind(name: str) -> str:
    """Return the description of a kind of shift, as a sentence's start."""
    description = KIND_DESCRIPTIONS.get(name, name)
    return description[:1].upper() + description[1:]


def test(name: str) -> tuple[str, str]:
    """Return a test's name and the question that it answers."""
    return TESTS.get(name, (name, ""))


def steps(name: str) -> tuple[str, ...]:
    """Return what to do about a kind of shift, first things first."""
    return STEPS.get(name, ())


def first_contact(report: WindowReportJson, stream: str, since: str) -> str | None:
    """Return the command that accepts traffic that differs from the reference from the first prediction on, or None."""
    if not report.get("from_first_prediction"):
        return None
    return accept_command(stream, dt.datetime.fromisoformat(since), report["kind"])


def backtest(stream: str, since: str) -> str:
    """Return the command that replays the traffic around an ISO 8601 time with a third of the usual false alarms."""
    start = dt.datetime.fromisoformat(since).astimezone(dt.UTC) - BEFORE_CHANGE
    moment = start.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"tidemark backtest --stream {shlex.quote(stream)} \\\n  --since {moment} --set expected_run_time=90d"


def remedy(name: str, stream: str, since: str) -> str | None:
    """Return the command that creates remedies for the traffic since an ISO 8601 time, or None where there is none."""
    if name not in STEPS or name == "repeats":
        return None
    moment = dt.datetime.fromisoformat(since).astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"tidemark remedy --stream {shlex.quote(stream)} \\\n  --since {moment} --out remedy"
