"""What a sweep costs beside its training, and what it takes to see that all is done: python bench/sweep.py [--quick].

The floor is half the sum of the bare training times of its runs: two cores, and nothing but NNet.fit on one of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from statistics import median

import machine

HIDDEN, STEPS = (1, 2, 3, 4, 8), (0.1, 0.3, 1)
GRID = (f"hiddenNodes={','.join(map(str, HIDDEN))}", f"stepSize={','.join(map(str, STEPS))}")
KINDS = {
    "recorded in MLflow": (),
    "not recorded": ("tracking_uri=none",),
    "not recorded, one process": ("tracking_uri=none", "hydra/launcher=basic"),
}
BARE = """
import json, sys, time
from pathlib import Path
from dognet.data import images
from dognet.network import NNet
X, y = images.split(images.read(Path(sys.argv[1])), "checkerboard")
seconds = []
for hiddenNodes, stepSize, seed in json.loads(sys.argv[2]):
    start = time.perf_counter()
    NNet().fit(X, y, hiddenNodes, stepSize, int(sys.argv[3]), seed)
    seconds.append(time.perf_counter() - start)
print(json.dumps(sum(seconds)))
"""


def sweep(folder: Path, *words: str) -> tuple[float, float]:
    """Return the seconds that a sweep takes from start to end, and its processor seconds."""
    dognet = Path(sys.executable).parent / "dognet"
    others = ("MLFLOW_", "DVC_", *machine.TO_AVX2)  # the last as for the bare trainings
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    before, start = os.times(), time.perf_counter()
    subprocess.run([dognet, "--multirun", *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, os.times()
    return seconds, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Measure both, in turn, beside their bounds."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="short runs, once: does it work? Writes nothing")
    quick = parser.parse_args().quick
    n_seeds, ITERS, rounds, many = (1, 10, 1, 4) if quick else (4, 10_000, 3, 200)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("conf", "dvc.yaml", "src"):
            (folder / name).symlink_to(machine.ROOT / name)
        sweep(folder, "study=first", "ITERS=1")  # makes the images and MLflow's store
        points = [list(point) for point in product(HIDDEN, STEPS, range(n_seeds))]
        grid = (*GRID, f"seed=range({n_seeds})", f"ITERS={ITERS}")
        bare: list[float] = []
        swept: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
        for number in range(rounds):
            train = str(folder / "data" / "generated" / "train.csv")
            bare.append(machine.alone(["-c", BARE, train, str(points), str(ITERS)], {}))
            for kind, (name, words) in enumerate(KINDS.items()):
                swept[name].append(sweep(folder, f"study=s{number}{kind}", *grid, *words))
        lines = [
            machine.described("numpy", "hydra-core", "joblib", "mlflow") + f"; medians of {rounds} rounds in turn.\n",
            f"| {len(points)} runs of {ITERS} iterations "
            "| seconds | processor seconds | times half the bare trainings | allowed |",
            "|:--|--:|--:|--:|--:|",
            f"| the trainings alone, one after another | {median(bare):.1f} | {median(bare):.1f} | 2 | |",
        ]
        for name, words in KINDS.items():
            seconds, processor = zip(*swept[name], strict=True)
            ratio = median(2 * one / alone for one, alone in zip(seconds, bare, strict=True))
            allowed = "" if words else "1.35"
            lines.append(f"| {name} | {median(seconds):.1f} | {median(processor):.1f} | {ratio:.2f} | {allowed} |")
        _, *again = (sweep(folder, "study=many", f"seed=range({many})", "ITERS=10")[0] for _ in range(1 + rounds))
        lines += ["", f"{many} finished and recorded runs are recognised in {median(again):.1f} s; 10 s are allowed."]
    if quick:
        print("\n".join(lines))
    else:
        machine.publish("sweep", "\n".join(lines))


if __name__ == "__main__":
    main()
