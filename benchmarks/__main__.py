"""`make bench`: figures of the README, each a ratio within one run.

    python -m benchmarks [cost] [power] [accuracy] [run_time] [serving] [serving_large] [memory] [ingest] [monitor]
        [fast_path] [year] [--rows N] [--model M --images A.npz ... [--traffic B.npz ...]]

The model is a bundle's folder, or an ONNX file with outputs `probabilities` and `embedding`; the images (arrays
`images` and `labels`) must be held out from fitting; by default both are the demo's digits. `accuracy` also measures
labelled images that the model meets later, --traffic: other writers, another scanner, another year. `ingest` logs up to
--rows predictions, 10,000,000 of them in about 10 GB of disk.
"""

import argparse
from functools import partial

from benchmarks import accuracy, cost, fast_path, ingest, monitor, power, run_time, serving
from benchmarks.world import World, digits
from benchmarks.year import run as year

PARTS = {
    "run_time": run_time.run,
    "cost": cost.run,
    "power": power.run,
    "accuracy": accuracy.run,
    "serving": serving.run,
    "serving_large": serving.run_large,
    "memory": serving.memory,
    "ingest": ingest.run,
    "monitor": monitor.run,
    "fast_path": fast_path.run,
    "year": year.run,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--model")
    parser.add_argument("--images", nargs="+")
    parser.add_argument("--traffic", nargs="+", default=[])
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    if (arguments.model is None) != (arguments.images is None):
        parser.error("--model and --images go together")
    if arguments.traffic and arguments.model is None:
        parser.error("--traffic needs --model and --images")
    world = World.load(arguments.model, arguments.images) if arguments.model else digits()
    parts = PARTS | {
        "ingest": partial(ingest.run, rows=arguments.rows),
        "accuracy": partial(accuracy.run, traffic=arguments.traffic),
    }
    for name in arguments.parts or PARTS:
        print(f"\n## {name}\n", flush=True)
        parts[name](world)
