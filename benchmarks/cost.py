"""Cost of a window report and of an update next to the field's libraries, in one run on one machine.

A library that cannot be installed is said to be missing. None of their code is used.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import environments
from benchmarks.world import Arrays, World
from tidemark.drift import Reference, StreamDetector, WindowTest

N, M, D, K, PERMUTATIONS = 5000, 500, 512, 10, 100
ROUNDS = 3

PEERS = {
    "alibi-detect (MMD + KS)": (
        ["alibi-detect[torch]", "torch"],
        """
from alibi_detect.cd import KSDrift, MMDDrift
mmd = MMDDrift(x, backend="pytorch", n_permutations=100)
ks = KSDrift(px)
def run(): mmd.predict(y); ks.predict(py)
""",
    ),
    "frouros (MMD + KS)": (
        ["frouros"],
        """
from frouros.detectors.data_drift import MMD, KSTest
from frouros.callbacks import PermutationTestDistanceBased
mmd = MMD(callbacks=[PermutationTestDistanceBased(num_permutations=100, num_jobs=2, name="p")])
mmd.fit(X=x)
tests = [KSTest() for _ in range(px.shape[1])]
for j, t in enumerate(tests): t.fit(X=px[:, j])
def run():
    mmd.compare(X=y)
    for j, t in enumerate(tests): t.compare(X=py[:, j])
""",
    ),
    "TorchDrift (MMD)": (
        ["torchdrift", "torch"],
        """
import torch, torchdrift
mmd = torchdrift.detectors.KernelMMDDriftDetector(n_perm=100)
mmd.fit(torch.from_numpy(x))
window = torch.from_numpy(y)
def run(): mmd.compute_p_value(window)
""",
    ),
}

HARNESS = """
import sys, time, numpy as np
data = np.load(sys.argv[1])
x, y, px, py = (data[name] for name in ("x", "y", "px", "py"))
{setup}
run()
times = []
for _ in range({rounds}):
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
print("seconds", sorted(times)[len(times) // 2])
"""


def run(_: World) -> None:
    """Print seconds of a window and microseconds of an update, and the ratios."""
    rng = np.random.default_rng(0)

    def predictions(n: int) -> Arrays:
        return {
            "embeddings": rng.normal(size=(n, D)).astype(np.float32),
            "probabilities": rng.dirichlet(np.ones(K), n).astype(np.float32),
        }

    reference_rows, window = predictions(N), predictions(M)
    reference = Reference(**reference_rows, labels=rng.integers(0, K, N))
    test = WindowTest(reference, window_size=M, level=0.005)
    report = _median(lambda: test(**window))
    tests = _median(lambda: test.p_value(**window))
    detector, batch = StreamDetector(reference), predictions(32)
    update = _median(lambda: detector.update(**batch)) / 32
    print(f"n = {N}, m = {M}, d = {D}, k = {K}\n")
    print("| | seconds a window | × Tidemark's tests |\n|---|---|---|")
    print(f"| Tidemark, whole report, 999 permutations | {report:.3f} | {report / tests:.1f} |")
    print(f"| Tidemark, all tests, 999 permutations | {tests:.3f} | 1 |")
    for name, (packages, setup) in PEERS.items():
        seconds = _peer(name, packages, setup, reference_rows, window)
        cells = f"{seconds:.3f} | {seconds / tests:.1f}" if isinstance(seconds, float) else f"{seconds} | "
        print(f"| {name}, {PERMUTATIONS} permutations | {cells} |", flush=True)
    print(f"\nStreamDetector.update in batches of 32: {update * 1e6:.1f} µs a prediction")


def _peer(
    name: str, packages: list[str], setup: str, reference: dict[str, np.ndarray], window: dict[str, np.ndarray]
) -> float | str:
    try:
        python = environments.python(name.split()[0].lower(), packages)
    except environments.Missing as missing:
        return str(missing)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data.npz"
        np.savez(
            data,
            x=reference["embeddings"],
            y=window["embeddings"],
            px=reference["probabilities"],
            py=window["probabilities"],
        )
        script = HARNESS.format(setup=setup, rounds=ROUNDS)
        result = subprocess.run([python, "-c", script, data], capture_output=True, text=True)
    lines = [line for line in result.stdout.splitlines() if line.startswith("seconds")]
    if not lines:
        return "failed: " + (result.stderr.strip().splitlines() or ["?"])[-1][:80]
    return float(json.loads(lines[0].split()[1]))


def _median(action: object) -> float:
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        action()  # type: ignore[operator]
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[ROUNDS // 2]


if __name__ == "__main__":
    sys.exit("run as: python -m benchmarks cost")
