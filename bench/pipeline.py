"""What starting costs, and what `dvc repro` costs beside DVC's own floor: python bench/pipeline.py [--quick].

The floor is a pipeline of empty stages: each touches a file that the next one depends on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import machine
import yaml
from training import SETTINGS, bare

Seconds = dict[str, float]  # processor time, wall time
STAGES = [f"dognet.stages.{name}" for name in ("fetch", "train", "evaluate", "plot", "track")]
EMPTY = "python -c \"open('out{0}', 'w').write('{0}')\""


def spent(words: list[str], folder: Path) -> Seconds:
    """Run a command in a folder and return what it and its children took."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(folder / "src")
    before, start = os.times(), time.perf_counter()
    subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    processor = sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
    return {"processor": processor, "wall": time.perf_counter() - start}


def project(folder: Path) -> Path:
    """Return a copy of this project, in git, with its store made and its pipeline run once."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=machine.ROOT, check=True, capture_output=True, text=True)
    names = listing.stdout.rstrip("\0").split("\0")
    folder.mkdir()
    subprocess.run(["cp", "--parents", f"--target-directory={folder}", *names], cwd=machine.ROOT, check=True)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    spent(["dvc", "repro", "--quiet"], folder)
    return folder


def empty(folder: Path, n_stages: int) -> Path:
    """Return a pipeline of empty stages, run once."""
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    spent(["dvc", "init", "--quiet"], folder)
    stages = {
        f"stage{k}": {"cmd": EMPTY.format(k), "outs": [f"out{k}"], "deps": [f"out{k - 1}"] if k else []}
        for k in range(n_stages)
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    spent(["dvc", "repro", "--quiet"], folder)
    return folder


def bare_training(folder: Path) -> Seconds:
    """Train with the lecture's settings on the pipeline's images, without importing or reading anything."""
    point = SETTINGS["hiddenNodes"], SETTINGS["stepSize"], SETTINGS["seed"]
    seconds = machine.alone(bare, folder / "data" / "generated" / "train.csv", [point], SETTINGS["ITERS"])
    return {"processor": seconds, "wall": seconds}


def main() -> None:
    """Take turns over everything that is measured."""
    quick = machine.quick(__doc__)
    turns = 1 if quick else 5
    os.environ |= {"COMP_LINE": "dognet hidden", "COMP_POINT": "13"}  # for TAB
    repro, python = ["dvc", "repro", "--quiet"], [sys.executable, "-P"]
    with tempfile.TemporaryDirectory() as temporary:
        ours = project(Path(temporary, "dognet"))
        three, four = (empty(Path(temporary, f"empty{count}"), count) for count in (3, 4))
        commands = {
            "import dognet.network": ([*python, "-c", "import dognet.network"], ours),
            "import numpy": ([*python, "-c", "import numpy"], ours),
            "dognet --help": (["dognet", "--help"], ours),
            "TAB": (["dognet", "--shell-completion", "query=bash"], ours),
            "dvc repro, nothing to do": (repro, ours),
            "the same, 3 empty stages": (repro, three),
            "dvc repro, 4 empty stages to run": ([*repro, "--force"], four),
            "dvc repro, all stages to run": ([*repro, "--force"], ours),
        }
        for module in STAGES:
            commands[f"{module} alone"] = [*python, "-m", module], ours
            commands[f"import {module}"] = [*python, "-c", f"import {module}"], ours
        cases = {"bare training": partial(bare_training, ours)}
        cases |= {name: partial(spent, *command) for name, command in commands.items()}
        results = machine.take_turns(turns, cases)
    rows = [[name, *seconds.median().map("{:.2f}".format)] for name, seconds in results.items()]
    described = machine.described("numpy", "dvc", "mlflow")
    table = machine.table(["", "processor time, s", "wall time, s"], rows)
    machine.publish("pipeline", f"{described}. Medians of {turns}.\n\n{table}", quick=quick)


if __name__ == "__main__":
    main()
