"""Requests a second and latency of Tidemark next to an empty endpoint, bare ONNX Runtime and the field's servers.

All servers run at once and are paused but for the one that is asked, in rounds of changing order; every figure is the
median of its rounds, every comparison a ratio within one round.
"""

import math
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks import chart, load
from benchmarks.backlog import remaining
from benchmarks.contenders import (
    BEHIND,
    EMPTY,
    LOGGED,
    MONITORED,
    PACKAGES,
    TIDEMARK_CONTENDERS,
    UNLOGGED,
    Contender,
    Job,
    running_contender,
)
from benchmarks.environments import Missing
from benchmarks.load import Load
from benchmarks.networks import mobilenet, resnet
from benchmarks.serving_jobs import photo_job, small_job
from benchmarks.world import World
from tidemark.inference import bundle as bundles
from tidemark.inference.images import decode
from tidemark.inference.model import Model

WARM_UP = 1  # seconds of load after a pause that are not measured
BARE_SECONDS = 2.0  # seconds of a loop in this process
BARE_BATCH = 32  # images of one run of the loop that does not decode
MEMORY_REQUESTS = 100_000
CHART = Path(".bench") / "serving.svg"
LOOP = "loop of decode + ONNX Runtime"  # one image at a time in one process, without a server


@dataclass(frozen=True)
class Part:
    """One network's comparison."""

    title: str
    job: Job
    names: tuple[str, ...]
    concurrencies: tuple[int, ...]
    rounds: int
    seconds: int  # duration of one run
    settle: int = 0  # seconds of a run before its answers are counted


class Loads:
    """The runs of each server, and of the loop, in the order of the rounds."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], list[Load]] = defaultdict(list)

    def add(self, name: str, concurrency: int, run: Load) -> None:
        """Append a run."""
        self._runs[name, concurrency].append(run)

    def __contains__(self, name: str) -> bool:
        return any(measured == name for measured, _ in self._runs)

    def median(self, name: str, concurrency: int, what: str) -> float:
        """Return the median of a figure of `Load` over the rounds."""
        return float(statistics.median(getattr(run, what) for run in self._runs[name, concurrency]))

    def ratio(self, name: str, other: str, concurrency: int, what: str) -> float:
        """Return the median over the rounds of a figure's ratio to another server's; infinite if that was 0."""
        pairs = zip(self._runs[name, concurrency], self._runs[other, concurrency], strict=True)
        values = [(getattr(a, what), getattr(b, what)) for a, b in pairs]
        return float(statistics.median(value / base if base else math.inf for value, base in values))

    def failed(self, name: str) -> int:
        """Return how many requests of a server failed."""
        return sum(run.failed for (measured, _), runs in self._runs.items() if measured == name for run in runs)


def run(world: World) -> None:
    """Print a table for the small network, and write a chart."""
    if not load.available():
        print("wrk is needed: apt-get install wrk")
        return
    peers = tuple(PACKAGES)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        small = small_job(folder, world)
        contenders = (EMPTY, UNLOGGED, LOGGED, MONITORED, BEHIND, *peers)
        loads = _compare(Part("small CNN, 28 × 28 PNG", small, contenders, (64, 1), 7, 2), folder / "small")
        rates = {name: loads.median(name, 64, "rate") for name in contenders if name in loads}
        CHART.parent.mkdir(exist_ok=True)
        CHART.write_text(chart.bars("Requests a second, small CNN, 64 connections", rates, LOGGED))
        print(f"chart: {CHART}\n", flush=True)


def run_large(_: World) -> None:
    """Print a table for each of two networks of 224 x 224 pixels."""
    if not load.available():
        print("wrk is needed: apt-get install wrk")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, write, concurrency, rounds, seconds in (
            ("mobilenet", mobilenet, 64, 10, 3),
            ("resnet", resnet, 8, 9, 5),
        ):
            title = f"{'MobileNetV2' if write is mobilenet else 'ResNet-50'}'s size, 224 × 224 from JPEG"
            job = photo_job(folder, name, write)
            names = (LOGGED, MONITORED, *PACKAGES)
            _compare(Part(title, job, names, (concurrency,), rounds, seconds, settle=1), folder / name)


def memory(world: World) -> None:
    """Print the memory of a worker as it answers requests."""
    with tempfile.TemporaryDirectory() as scratch:
        job = small_job(Path(scratch), world)
        data = Path(scratch) / "memory"
        data.mkdir()
        sizes, answered = [], 0.0
        with running_contender(LOGGED, job, data) as contender:
            while answered < MEMORY_REQUESTS:
                sizes.append((int(answered), contender.memory()))
                answered += 10 * load.drive(contender.url, contender.bodies, 64, 10).rate
            sizes.append((int(answered), contender.memory()))
    print("resident memory of one worker after requests: " + ", ".join(f"{n}: {b / 1e6:.0f} MB" for n, b in sizes))


def _compare(part: Part, folder: Path) -> Loads:
    print(f"### {part.title}\n", flush=True)
    loads = Loads()
    with ExitStack() as stack:
        running: list[Contender] = []
        for number, name in enumerate(part.names):
            data = folder / str(number)
            data.mkdir(parents=True)
            try:
                contender = stack.enter_context(running_contender(name, part.job, data))
            except Missing as missing:
                print(f"{name}: {missing}\n")
                continue
            contender.pause()
            running.append(contender)
        loop, batches = _loops(part.job)
        order = random.Random(0)
        for _ in range(part.rounds):
            order.shuffle(running)
            rate = _rate(loop)
            for concurrency in part.concurrencies:
                loads.add(LOOP, concurrency, Load(rate, 1 / rate, 1 / rate, 0))
            for contender in running:
                contender.resume()
                load.drive(contender.url, contender.bodies, max(part.concurrencies), WARM_UP)
                for concurrency in part.concurrencies:
                    result = load.drive(contender.url, contender.bodies, concurrency, part.seconds, part.settle)
                    loads.add(contender.name, concurrency, result)
                contender.pause()
        _print(loads, part)
        print(f"\nONNX Runtime alone, one thread, batches of {BARE_BATCH}: {_rate(batches):.0f} images/s")
        for contender in running:
            if contender.name == BEHIND:
                contender.resume()
                print(f"predictions that the monitor still has to process: {remaining(contender.server):,}")
        print(flush=True)
    return loads


def _loops(job: Job) -> tuple[Callable[[], int], Callable[[], int]]:
    """Return what answers images in this process: decoding and running one after the other, and running batches only.

    Each returns the number of images.
    """
    bundle = bundles.load(job.bundle)
    model = Model(bundle)
    single = onnxruntime.SessionOptions()
    single.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.model_path, single)
    pixels = [decode(image, bundle.input, 10**8).pixels for image in job.images[:BARE_BATCH]]
    tensor = model.prepared(np.stack(pixels))
    name = session.get_inputs()[0].name

    def decoded() -> int:
        for image in job.images[:8]:
            model.predict(decode(image, bundle.input, 10**8).pixels[None])
        return 8

    def in_batches() -> int:
        session.run([job.output], {name: tensor})
        return len(tensor)

    return decoded, in_batches


def _rate(action: Callable[[], int]) -> float:
    """Return images a second."""
    action()
    start, answered = time.perf_counter(), 0
    while time.perf_counter() - start < BARE_SECONDS:
        answered += action()
    return answered / (time.perf_counter() - start)


def _print(loads: Loads, part: Part) -> None:
    many = part.concurrencies[0]
    names = [name for name in part.names if name in loads]
    columns = [f"requests/s, {many} connections", "p50, p99"]
    columns += [f"p50, {c} connection" for c in part.concurrencies[1:]]
    print(f"| | {' | '.join(columns)} | failed |\n" + "|---" * (len(columns) + 2) + "|")
    for name in names:
        cells = [f"{loads.median(name, many, 'rate'):,.0f}"]
        cells += [f"{1e3 * loads.median(name, many, 'p50'):.1f}, {1e3 * loads.median(name, many, 'p99'):.1f} ms"]
        cells += [f"{1e3 * loads.median(name, c, 'p50'):.2f} ms" for c in part.concurrencies[1:]]
        print(f"| {name} | {' | '.join(cells)} | {loads.failed(name)} |")
    print(f"| {LOOP} | {loads.median(LOOP, many, 'rate'):,.0f} |" + " |" * len(columns))
    print("\nratios, medians over rounds:")
    peers = [name for name in names if name not in (EMPTY, *TIDEMARK_CONTENDERS)]
    for contender in [name for name in names if name in TIDEMARK_CONTENDERS]:
        rivals = [EMPTY, *([] if contender == UNLOGGED else [UNLOGGED]), LOOP, *peers]
        for other in [rival for rival in rivals if rival in loads]:
            print(f"  requests/s, {contender} / {other}: {loads.ratio(contender, other, many, 'rate'):.3f}")
        for concurrency in part.concurrencies[1:]:
            for other in peers:
                ratio = loads.ratio(contender, other, concurrency, "p50")
                print(f"  p50 at {concurrency} connection, {contender} / {other}: {ratio:.3f}")
