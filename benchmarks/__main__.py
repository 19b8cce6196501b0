"""`make bench`: figures of the README, each a ratio within one run.

    python -m benchmarks [cost] [power] [tails] [serving] [--model M.onnx --images A.npz ...]

The model needs outputs `probabilities` and `embedding`, the images must be held out from fitting; by default both are
the demo's digits.
"""

import argparse

from benchmarks import cost, power, serving, tails
from benchmarks.world import World, digits

PARTS = {"cost": cost.run, "power": power.run, "tails": tails.run, "serving": serving.run}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--model")
    parser.add_argument("--images", nargs="+")
    arguments = parser.parse_args()
    if (arguments.model is None) != (arguments.images is None):
        parser.error("--model and --images go together")
    world = World.load(arguments.model, arguments.images) if arguments.model else digits()
    for name in arguments.parts or PARTS:
        print(f"\n## {name}\n", flush=True)
        PARTS[name](world)
