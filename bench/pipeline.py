"""What starting costs, and what `dvc repro` costs beside DVC's own floor: python bench/pipeline.py [--quick].

The floor is a pipeline of empty stages: each touches a file that the next one depends on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import machine
import yaml

Seconds = tuple[float, float]  # processor time, wall time
STAGES = [f"dognet.stages.{name}" for name in ("fetch", "train", "evaluate", "plot", "track")]
EMPTY = "python -c \"open('{name}', 'w').write('{turn}')\""


def spent(words: list[str], folder: Path) -> Seconds:
    """Run a command in a folder and return what it and its children took."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(folder / "src")
    before, start = os.times(), time.perf_counter()
    subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    processor = sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
    return processor, time.perf_counter() - start


def project(folder: Path) -> Path:
    """Return a copy of this project, in git, with its store made and its pipeline run once."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=machine.ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listing.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(machine.ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    spent(["dvc", "repro", "--quiet"], folder)
    return folder


def empty(folder: Path, n_stages: int) -> Path:
    """Return a pipeline of empty stages, run once."""
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    spent(["dvc", "init", "--quiet"], folder)
    touch(folder, n_stages, 0)
    spent(["dvc", "repro", "--quiet"], folder)
    return folder


def touch(folder: Path, n_stages: int, turn: int) -> None:
    """Write the empty pipeline anew, so that every stage of it has to run."""
    stages = {
        f"stage{number}": {
            "cmd": EMPTY.format(name=f"out{number}", turn=f"{turn} {number}"),
            "outs": [f"out{number}"],
            **({"deps": [f"out{number - 1}"]} if number else {}),
        }
        for number in range(n_stages)
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")


def bare(folder: Path) -> Seconds:
    """Train with the lecture's settings on the pipeline's images, without importing or reading anything."""
    code = (
        "import time; from pathlib import Path; from dognet.conf import compose; from dognet.data import images;"
        "from dognet.network import NNet; c = compose(Path());"
        "X, y = images.split(images.read(Path('data/generated/train.csv')), c.data.positive);"
        "t = time.perf_counter(); NNet().fit(X, y, **c.arguments()); print(time.perf_counter() - t)"
    )
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return float(done.stdout), float(done.stdout)


def main() -> None:
    """Take turns over everything that is measured."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="once: does it work? Writes nothing")
    quick = parser.parse_args().quick
    turns = 1 if quick else 5
    with tempfile.TemporaryDirectory() as temporary:
        ours = project(Path(temporary, "dognet"))
        three, four = (empty(Path(temporary, f"empty{count}"), count) for count in (3, 4))
        results: dict[str, list[Seconds]] = {}
        for turn in range(1, turns + 1):

            def measure(name: str, seconds: Seconds) -> None:
                results.setdefault(name, []).append(seconds)

            measure("import dognet.network", spent([sys.executable, "-c", "import dognet.network"], ours))
            measure("import numpy", spent([sys.executable, "-c", "import numpy"], ours))
            measure("dognet --help", spent(["dognet", "--help"], ours))
            completion = ["dognet", "--shell-completion", "query=bash"]
            os.environ["COMP_LINE"], os.environ["COMP_POINT"] = "dognet hidden", "13"
            measure("TAB", spent(completion, ours))
            measure("dvc repro, nothing to do", spent(["dvc", "repro", "--quiet"], ours))
            measure("the same, 3 empty stages", spent(["dvc", "repro", "--quiet"], three))
            measure("bare training", bare(ours))
            touch(four, 4, turn)
            measure("dvc repro, 4 empty stages to run", spent(["dvc", "repro", "--quiet"], four))
            measure("dvc repro, all stages to run", spent(["dvc", "repro", "--quiet", "--force"], ours))
            for module in STAGES:
                measure(f"{module} alone", spent([sys.executable, "-P", "-m", module], ours))
                measure(f"import {module}", spent([sys.executable, "-P", "-c", f"import {module}"], ours))
    lines = ["| | processor time, s | wall time, s |", "|---|---|---|"]
    for name, seconds in results.items():
        processor, wall = (median(values) for values in zip(*seconds, strict=True))
        lines.append(f"| {name} | {processor:.2f} | {wall:.2f} |")
    described = machine.described("numpy", "dvc", "mlflow")
    machine.publish("pipeline", f"{described}. Medians of {turns}.\n\n" + "\n".join(lines), quick=quick)


if __name__ == "__main__":
    main()
