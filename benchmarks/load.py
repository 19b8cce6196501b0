"""Load from wrk, a native generator, so that what sends the requests costs little next to what answers them."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True)
class Bodies:
    """Encoded requests: files `0`, `1`, … of a folder."""

    folder: Path
    count: int
    content_type: str


@dataclass(frozen=True)
class Load:
    """The measurement of one run of the generator."""

    rate: float  # answers a second, without errors
    p50: float  # seconds
    p99: float  # seconds
    failed: int  # errors, and answers other than 2xx and 3xx


def available() -> bool:
    """Return True if the generator is installed."""
    return shutil.which("wrk") is not None


def drive(url: str, bodies: Bodies, concurrency: int, seconds: int, settle: int = 0) -> Load:
    """Send requests over `concurrency` connections, each as soon as the last one is answered.

    Parameters
    ----------
    seconds : int
        How long answers are counted.
    settle : int, 0
        Seconds before that. Where an answer takes a good part of `seconds`, one second makes the rate that of a server
        in steady operation: otherwise no answer is under way at the start and some are at the end.
    """
    command = [
        "wrk",
        "-t1",
        f"-c{concurrency}",
        f"-d{settle + seconds}s",
        "--timeout",
        "20s",
        "-s",
        str(SCRIPT),
        url,
        "--",
    ]
    arguments = [str(bodies.folder), str(bodies.count), bodies.content_type, str(settle)]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    result = json.loads(result.stdout.strip().splitlines()[-1])
    return Load(result["answered"] / result["seconds"], result["p50"], result["p99"], result["failed"])


def raw(folder: Path, images: list[bytes], content_type: str) -> Bodies:
    """Write images as bodies of their own."""
    return _write(folder, images, content_type)


def multipart(folder: Path, images: list[bytes], field: str, content_type: str) -> Bodies:
    """Write images as forms with one file."""
    head = f'--part\r\nContent-Disposition: form-data; name="{field}"; filename="image"\r\nContent-Type: {content_type}'
    bodies = [head.encode() + b"\r\n\r\n" + image + b"\r\n--part--\r\n" for image in images]
    return _write(folder, bodies, "multipart/form-data; boundary=part")


def documents(folder: Path, bodies: list[bytes]) -> Bodies:
    """Write JSON documents."""
    return _write(folder, bodies, "application/json")


def _write(folder: Path, bodies: list[bytes], content_type: str) -> Bodies:
    folder.mkdir(parents=True)
    for number, body in enumerate(bodies):
        (folder / str(number)).write_bytes(body)
    return Bodies(folder, len(bodies), content_type)
