"""What a sweep costs beside its training, and what it takes to see that all is done: python bench/sweep.py [--quick].

The floor is half the sum of the bare training times of its runs: two cores, and nothing but NNet.fit on one of them.
"""

from __future__ import annotations

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
import pandas as pd
from training import bare

from dognet.runs.folder import ended_runs

HIDDEN, STEPS = (1, 2, 3, 4, 8), (0.1, 0.3, 1)


def sweep(folder: Path, *words: str) -> float:
    """Return the seconds that a sweep takes from start to end."""
    dognet = Path(sys.executable).parent / "dognet"
    others = ("MLFLOW_", "DVC_", *machine.TO_AVX2)  # the last as for the bare trainings
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    start = time.perf_counter()
    subprocess.run([dognet, "--multirun", *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def spent(runs: Path, began: float, seconds: float, trainings: float) -> dict[str, float]:
    """Return where the seconds of a sweep on two cores went, by what its runs say of themselves."""
    said = pd.DataFrame(run.manifest.model_dump() for run in ended_runs(runs))
    starts = said.start.map(datetime.fromisoformat).map(datetime.timestamp)
    first, last = starts.min(), (starts + said.seconds).max()
    trained, read = said.seconds.sum() / 2, said.reading.sum() / 2
    return {
        "half the bare trainings": trainings / 2,
        "Python, Hydra, the grid, two workers: until the first run starts": first - began,
        "reading the images, once in each worker": read,
        "the trainings: slower beside each other and the recording, with their curves": trained - read - trainings / 2,
        "between the trainings: figures, files, the next run; one worker at the end": last - first - trained,
        "after the last run: the report, the last ones recorded": began + seconds - last,
        "all together, at most 1.25": seconds,
    }


def main() -> None:
    """Measure both, in turn, beside their bounds."""
    quick = machine.quick(__doc__)
    n_seeds, ITERS, rounds, many = (1, 10, 1, 4) if quick else (4, 10_000, 5, 200)
    points, parts = list(product(HIDDEN, STEPS, range(n_seeds))), []
    grid = [f"hiddenNodes={','.join(map(str, HIDDEN))}", f"stepSize={','.join(map(str, STEPS))}"]
    grid += [f"seed=range({n_seeds})", f"ITERS={ITERS}"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("conf", "dvc.yaml", "src"):
            (folder / name).symlink_to(machine.ROOT / name)
        sweep(folder, "study=first", "ITERS=1")  # makes the images and MLflow's store
        for number in range(rounds):
            trainings = machine.alone(bare, folder / "data" / "generated" / "train.csv", points, ITERS)
            began = time.time()
            seconds = sweep(folder, f"study=s{number}", *grid)
            parts.append(spent(folder / "experiments" / f"s{number}" / "runs", began, seconds, trainings))
        _, *again = (sweep(folder, "study=many", f"seed=range({many})", "ITERS=10") for _ in range(1 + rounds))
    seconds_of = pd.DataFrame(parts)
    shares = seconds_of.div(seconds_of["half the bare trainings"], axis=0).median()
    rows = [[name, f"{middle:.1f}", f"{shares[name]:.2f}"] for name, middle in seconds_of.median().items()]
    head = [f"{len(points)} runs of {ITERS} iterations, recorded", "seconds", "times half the bare trainings"]
    described = machine.described("numpy", "hydra-core", "joblib", "mlflow")
    machine.publish(
        "sweep",
        f"{described}; medians of {rounds} rounds in turn.\n\n{machine.table(head, rows)}\n\n"
        f"{many} finished and recorded runs are recognised in {median(again):.1f} s (aim: 2).",
        quick=quick,
    )


if __name__ == "__main__":
    main()
