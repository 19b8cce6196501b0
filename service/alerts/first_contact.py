"""What an alert says of a stream that differs from its reference from the first prediction on."""

import datetime as dt
import shlex


def accept_command(stream: str, since: dt.datetime, kind: str) -> str:
    """Return the command that makes a stream's traffic since a time its normal one: its mix of classes for a label
    shift, all of it for any other kind."""
    moment = since.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    part = "mix" if kind == "label" else "all"
    return f"tidemark accept --stream {shlex.quote(stream)} --since {moment} --what {part}"


def first_contact_sentence(stream: str, since: dt.datetime, kind: str) -> str:
    """Return the sentence with that command."""
    normal = "the normal mix" if kind == "label" else "normal here"
    return f"It differs from the first prediction on; if this is {normal}: {accept_command(stream, since, kind)}"
