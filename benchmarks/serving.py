"""Requests a second and latency of Tidemark next to an empty endpoint, bare ONNX Runtime and the field's servers.

All servers run at once and are paused but for the one that is asked, in rounds of changing order; every figure is the
median of its rounds, every comparison a ratio within one run.
"""

import io
import random
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from benchmarks import chart, contenders, load
from benchmarks.contenders import EMPTY, LOGGED, MONITORED, UNLOGGED, Contender, Job, started
from benchmarks.environments import Missing
from benchmarks.load import Load
from benchmarks.networks import SIDE, mobilenet
from benchmarks.world import World
from tidemark.demo.installation import MODEL
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.images import decode
from tidemark.inference.session import Model

ROUNDS = 3
SECONDS = 5  # of one run; the first moments, when connections are made, are then less than 1 % of it
CONCURRENCIES = (1, 8, 64)
PICTURES = 256
PHOTO = (500, 375)  # pixels, width and height of the photographs
MEMORY_REQUESTS = 100_000
CHART = Path(".bench") / "serving.svg"

Loads = dict[tuple[str, int], list[Load]]


def run(world: World) -> None:
    """Print a table a network, the memory of a worker, and write a chart."""
    if not load.available():
        print("wrk is needed: apt-get install wrk")
        return
    with tempfile.TemporaryDirectory() as scratch:
        small = _small(Path(scratch), world)
        loads_by_run = _compare("small CNN, 28 × 28 PNG", small, Path(scratch) / "small", tuple(contenders.MAKERS))
        _memory(small, Path(scratch) / "memory")
        large = _large(Path(scratch))
        _compare("MobileNetV2's size, 224 × 224 from JPEG", large, Path(scratch) / "large", tuple(contenders.MAKERS))
        rates = {
            name: _median(loads, "rate") for (name, concurrency), loads in loads_by_run.items() if concurrency == 64
        }
        CHART.parent.mkdir(exist_ok=True)
        CHART.write_text(chart.bars("Requests a second, small CNN, 64 connections", rates, LOGGED))
        print(f"\nchart: {CHART}")


def _compare(title: str, job: Job, folder: Path, names: tuple[str, ...]) -> Loads:
    print(f"### {title}\n")
    _bare(job)
    loads_by_run: Loads = defaultdict(list)
    with ExitStack() as stack:
        running: list[Contender] = []
        for name in names:
            data = folder / name.split(",")[0].replace(" ", "-") / str(len(running))
            data.mkdir(parents=True)
            try:
                contender = stack.enter_context(started(name, job, data))
            except Missing as missing:
                print(f"{name}: {missing}\n")
                continue
            contender.pause()
            running.append(contender)
        order = random.Random(0)
        for _ in range(ROUNDS):
            order.shuffle(running)
            for contender in running:
                contender.resume()
                load.drive(contender.url, contender.bodies, 8, 1)
                for concurrency in CONCURRENCIES:
                    result = load.drive(contender.url, contender.bodies, concurrency, SECONDS)
                    loads_by_run[contender.name, concurrency].append(result)
                contender.pause()
    _print(loads_by_run, [name for name in names if (name, 1) in loads_by_run])
    return loads_by_run


def _bare(job: Job) -> None:
    """Print what a loop of ONNX Runtime alone makes, with decoding and without, in this process."""
    bundle = bundles.load(job.bundle)
    pixels = [decode(image, bundle.input, 10**8).pixels for image in job.images[:64]]
    model = Model(bundle)
    single = onnxruntime.SessionOptions()
    single.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.model_path, single)
    tensor = model.prepared(np.stack(pixels[:32]))
    name = session.get_inputs()[0].name

    def one_thread() -> int:
        session.run([job.output], {name: tensor})
        return len(tensor)

    def decoded() -> int:
        for image in job.images[:32]:
            model.predict(decode(image, bundle.input, 10**8).pixels[None])
        return 32

    print("| in one process | images/s |\n|---|---|")
    print(f"| ONNX Runtime, one thread, batches of 32 | {_rate(one_thread):.0f} |")
    print(f"| loop of decode + ONNX Runtime | {_rate(decoded):.0f} |\n", flush=True)


def _rate(action: object) -> float:
    action()  # type: ignore[operator]
    rates = []
    for _ in range(ROUNDS):
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < 1:
            done += action()  # type: ignore[operator]
        rates.append(done / (time.perf_counter() - start))
    return statistics.median(rates)


def _print(loads_by_run: Loads, names: list[str]) -> None:
    print("| | " + " | ".join(f"c = {c}: requests/s, p50, p99 in ms" for c in CONCURRENCIES) + " | failed |")
    print("|---" * (len(CONCURRENCIES) + 2) + "|")
    for name in names:
        cells = [
            f"{_median(loads_by_run[name, c], 'rate'):.0f}, {1e3 * _median(loads_by_run[name, c], 'p50'):.2f}, "
            f"{1e3 * _median(loads_by_run[name, c], 'p99'):.1f}"
            for c in CONCURRENCIES
        ]
        failed = sum(result.failed for c in CONCURRENCIES for result in loads_by_run[name, c])
        print(f"| {name} | {' | '.join(cells)} | {failed} |")
    print("\nratios, medians over rounds:")
    peers = [name for name in names if name not in (EMPTY, LOGGED, UNLOGGED, MONITORED)]
    rows = [(EMPTY, 64, "rate"), (UNLOGGED, 64, "rate"), *((peer, 64, "rate") for peer in peers)]
    rows += [(peer, 1, "p50") for peer in peers]
    for other, concurrency, what in rows:
        if other in names:
            ratio = _ratio(loads_by_run, LOGGED, other, concurrency, what)
            print(f"  {what} at c = {concurrency}, Tidemark / {other}: {ratio:.3f}")
    if MONITORED in names:
        for concurrency in CONCURRENCIES:
            ratio = _ratio(loads_by_run, MONITORED, LOGGED, concurrency, "p99")
            print(f"  p99 at c = {concurrency}, with its monitor / without: {ratio:.2f}")
    print(flush=True)


def _ratio(loads_by_run: Loads, name: str, other: str, concurrency: int, what: str) -> float:
    pairs = zip(loads_by_run[name, concurrency], loads_by_run[other, concurrency], strict=True)
    return float(statistics.median(getattr(a, what) / getattr(b, what) for a, b in pairs))


def _median(loads: list[Load], what: str) -> float:
    return float(statistics.median(getattr(load, what) for load in loads))


def _memory(job: Job, folder: Path) -> None:
    folder.mkdir()
    sizes, answered = [], 0.0
    with started(LOGGED, job, folder) as contender:
        while answered < MEMORY_REQUESTS:
            sizes.append((int(answered), contender.memory()))
            answered += 10 * load.drive(contender.url, contender.bodies, 64, 10).rate
        sizes.append((int(answered), contender.memory()))
    print("resident memory of one worker after requests: " + ", ".join(f"{n}: {b / 1e6:.0f} MB" for n, b in sizes))
    print(flush=True)


def _small(folder: Path, world: World) -> Job:
    bundle = init_bundle(MODEL, folder / "small-bundle", name="digits")
    reference = folder / "small.npz"
    np.savez(reference, images=world.images[:4000], labels=world.labels[:4000])
    images = [_encoded(Image.fromarray(pixels), "PNG") for pixels in world.images[4000 : 4000 + PICTURES]]
    return Job(bundle.folder, bundle.output.probabilities, "L", 28, "image/png", images, reference)


def _large(folder: Path) -> Job:
    """Return the large network's job: cut-outs of the two photographs that scikit-learn ships."""
    from sklearn.datasets import load_sample_images

    mobilenet(folder / "mobilenet.onnx")
    bundle = init_bundle(folder / "mobilenet.onnx", folder / "large-bundle", name="mobilenet")
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    cut = []
    for number in range(PICTURES):
        photo = photos[number % 2]
        left, top = (int(rng.integers(0, a - b + 1)) for a, b in zip(photo.size, PHOTO, strict=True))
        cut.append(photo.crop((left, top, left + PHOTO[0], top + PHOTO[1])))
    reference = folder / "large.npz"
    shrunk = np.stack([np.asarray(photo.resize((SIDE, SIDE))) for photo in cut])
    np.savez(reference, images=shrunk, labels=np.arange(PICTURES) % len(bundle.labels))
    images = [_encoded(photo, "JPEG") for photo in cut]
    return Job(bundle.folder, bundle.output.probabilities, "RGB", SIDE, "image/jpeg", images, reference)


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=90)
    return buffer.getvalue()
