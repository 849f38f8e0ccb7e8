"""What a sweep costs beside its training, and what it takes to see that all is done: python bench/sweep.py [--quick].

The floor is half the sum of the bare training times of its runs: two cores, and nothing but NNet.fit on one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from itertools import product
from pathlib import Path
from statistics import median

import machine

HIDDEN, STEPS = (1, 2, 3, 4, 8), (0.1, 0.3, 1)
GRID = (f"hiddenNodes={','.join(map(str, HIDDEN))}", f"stepSize={','.join(map(str, STEPS))}")
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


def sweep(folder: Path, *words: str) -> float:
    """Return the seconds that a sweep takes from start to end."""
    dognet = Path(sys.executable).parent / "dognet"
    others = ("MLFLOW_", "DVC_", *machine.TO_AVX2)  # the last as for the bare trainings
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    start = time.perf_counter()
    subprocess.run([dognet, "--multirun", *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def spent(runs: Path, began: float, seconds: float, bare: float) -> dict[str, float]:
    """Return where the seconds of a sweep on two cores went, by what its runs say of themselves."""
    said = [json.loads(file.read_text()) for file in runs.glob("*/run.json")]
    starts = [datetime.fromisoformat(run["start"]).timestamp() for run in said]
    first, last = min(starts), max(start + run["seconds"] for start, run in zip(starts, said, strict=True))
    trained, read = (sum(run[name] for run in said) / 2 for name in ("seconds", "reading"))
    return {
        "half the bare trainings": bare / 2,
        "Python, Hydra, the grid, two workers: until the first run starts": first - began,
        "reading the images, once in each worker": read,
        "the trainings: slower beside each other and the recording, with their curves": trained - read - bare / 2,
        "between the trainings: figures, files, the next run; one worker at the end": last - first - trained,
        "after the last run: the report, the last ones recorded": began + seconds - last,
        "all together, at most 1.25": seconds,
    }


def main() -> None:
    """Measure both, in turn, beside their bounds."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="short runs, once: does it work? Writes nothing")
    quick = parser.parse_args().quick
    n_seeds, ITERS, rounds, many = (1, 10, 1, 4) if quick else (4, 10_000, 5, 200)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("conf", "dvc.yaml", "src"):
            (folder / name).symlink_to(machine.ROOT / name)
        sweep(folder, "study=first", "ITERS=1")  # makes the images and MLflow's store
        points = [list(point) for point in product(HIDDEN, STEPS, range(n_seeds))]
        grid = (*GRID, f"seed=range({n_seeds})", f"ITERS={ITERS}")
        train, parts = str(folder / "data" / "generated" / "train.csv"), []
        for number in range(rounds):
            bare = machine.alone(["-c", BARE, train, str(points), str(ITERS)], {})
            began = time.time()
            seconds = sweep(folder, f"study=s{number}", *grid)
            parts.append(spent(folder / "experiments" / f"s{number}" / "runs", began, seconds, bare))
        lines = [
            machine.described("numpy", "hydra-core", "joblib", "mlflow") + f"; medians of {rounds} rounds in turn.\n",
            f"| {len(points)} runs of {ITERS} iterations, recorded | seconds | times half the bare trainings |",
            "|:--|--:|--:|",
        ]
        for name in parts[0]:
            share = median(part[name] / part["half the bare trainings"] for part in parts)
            lines.append(f"| {name} | {median(part[name] for part in parts):.1f} | {share:.2f} |")
        _, *again = (sweep(folder, "study=many", f"seed=range({many})", "ITERS=10") for _ in range(1 + rounds))
        lines += ["", f"{many} finished and recorded runs are recognised in {median(again):.1f} s (aim: 2)."]
    machine.publish("sweep", "\n".join(lines), quick=quick)


if __name__ == "__main__":
    main()
