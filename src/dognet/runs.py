"""The run folder: a run's plain files, written so that only a whole one counts as finished.

    config.yaml     settings, sha256 of the training images
    weights.npz     W1, W2, y_classes
    snapshots.npz   iterations (k,), W1 (k, p+1, h), W2 (k, h+1, 1): the weights on the way, the last of them at the end
    curve.csv       iteration, train_loss, train_accuracy
    curve.svg, weights.svg
    metrics.json    train and test loss (nats) and accuracy, digest
    activations.svg, mistakes.svg
    run.json        written last, by rename: status, digest, trajectory, study, start, seconds, continued_from,
                    git, versions, host, overrides, sha256 of every file above, checksum of all this
    traceback.txt   of a failed run

A run's digest names its result: settings, data by content, and the numeric code. Its trajectory is the same without
ITERS and the test images: of two runs on one trajectory the longer begins as the shorter does.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import json
import os
import platform
import subprocess
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dognet.config import SETTINGS, Config
from dognet.files import sha256, write
from dognet.network import descent, nnet

PIPELINE = Path("experiments", "pipeline")  # the run folder of `dvc repro`
CURVE_HEADER = "iteration,train_loss,train_accuracy\n"
PICTURES = ("curve.svg", "weights.svg", "activations.svg", "mistakes.svg")
FILES = ("config.yaml", "weights.npz", "snapshots.npz", "curve.csv", "metrics.json", *PICTURES)
Weights = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]  # W1, W2


class RunError(Exception):
    """A run that isn't there, or isn't whole: which file, and why."""


@dataclass(frozen=True)
class Run:
    """A run that is over, as its folder tells it."""

    folder: Path
    info: dict[str, Any]  # run.json
    config: dict[str, Any]  # config.yaml
    metrics: dict[str, Any]  # metrics.json, empty for a failed run

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return bool(self.info["status"] == "finished")

    def curve(self) -> list[tuple[int, float, float]]:
        """Return (iteration, train_loss, train_accuracy) of each recorded iteration."""
        return curve(self.folder)

    def rows(self) -> dict[int, str]:
        """Return the rows of curve.csv by their iteration."""
        rows = (self.folder / "curve.csv").read_text().removeprefix(CURVE_HEADER).splitlines(keepends=True)
        return {int(row.partition(",")[0]): row for row in rows}

    def snapshots(self) -> dict[int, Weights]:
        """Return W1 and W2 by the iteration after which they were kept."""
        return snapshots(self.folder)

    def net(self) -> nnet.NNet:
        """Return the trained network."""
        return nnet.NNet.load(self.folder / "weights.npz")


def describe(config: Config, train_sha256: str) -> dict[str, Any]:
    """Return what config.yaml holds: the settings of a run and the sha256 of its training images."""
    settings = {name: getattr(config, name) for name in SETTINGS}
    made = {name: getattr(config.data, name) for name in ("train_rows", "seed")}  # of generated images
    data = {"source": config.source, "positive": config.data.positive, **made, "train_sha256": train_sha256}
    return {**settings, "data": {name: value for name, value in data.items() if value is not None}}


def digest(described: dict[str, Any], test_sha256: str) -> str:
    """Return the hash that names the result of a config.yaml: settings, images and numeric code."""
    return hash_of({**identity(described), "ITERS": described["ITERS"], "test_sha256": test_sha256})


def trajectory(described: dict[str, Any]) -> str:
    """Return the hash that runs share which differ only in ITERS."""
    return hash_of(identity(described))


def identity(described: dict[str, Any]) -> dict[str, Any]:
    """Return what sets the weights of every iteration."""
    settings = {name: described[name] for name in SETTINGS if name != "ITERS"}
    data = {name: described["data"][name] for name in ("positive", "train_sha256")}
    return {**settings, **data, "code": code_digest()}


def hash_of(values: dict[str, Any]) -> str:
    """Return the first 16 hex digits of the sha256 of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def code_digest() -> str:
    """Return the sha256 of the numeric modules as Python reads them: comments, docstrings and layout don't count."""
    code = []
    for module in (nnet, descent):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        code.append(ast.unparse(tree))
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def folder_name(config: Config) -> str:
    """Return the name of a run's folder: the settings that change the result; dtype and data where not the usual."""
    parts = [f"{name}={getattr(config, name)}" for name in SETTINGS if name != "dtype"]
    if config.dtype != "float64":
        parts.append(f"dtype={config.dtype}")
    if config.source != "generated":
        parts.append(f"data={config.source}")
    return ",".join(parts)


def curve_row(iteration: int, loss: float, accuracy: float) -> str:
    """Return a row of curve.csv, with 10 significant digits so that another CPU's last bits don't change the file."""
    return f"{iteration},{loss:.10g},{accuracy:.10g}\n"


def points(rows: str) -> list[tuple[int, float, float]]:
    """Return the points that ``curve_row`` wrote."""
    cells = (row.split(",") for row in rows.splitlines())
    return [(int(iteration), float(loss), float(accuracy)) for iteration, loss, accuracy in cells]


def curve(folder: Path) -> list[tuple[int, float, float]]:
    """Read curve.csv."""
    return points((folder / "curve.csv").read_text().removeprefix(CURVE_HEADER))


def write_snapshots(folder: Path, kept: dict[int, Weights]) -> None:
    """Write snapshots.npz: the weights by the iteration after which they were kept."""
    W1, W2 = zip(*kept.values(), strict=True)
    file = io.BytesIO()
    np.savez(file, iterations=list(kept), W1=W1, W2=W2, allow_pickle=False)
    write(folder / "snapshots.npz", file.getvalue())


def snapshots(folder: Path) -> dict[int, Weights]:
    """Read snapshots.npz."""
    with np.load(folder / "snapshots.npz", allow_pickle=False) as arrays:
        return dict(zip(arrays["iterations"].tolist(), zip(arrays["W1"], arrays["W2"], strict=True), strict=True))


def settings(folder: Path) -> dict[str, Any]:
    """Read config.yaml."""
    return parse(folder / "config.yaml", yaml.safe_load)


def write_settings(folder: Path, described: dict[str, Any]) -> None:
    """Write config.yaml."""
    write(folder / "config.yaml", yaml.safe_dump(described, sort_keys=False, allow_unicode=True))


def begin(folder: Path) -> None:
    """Make the folder ready for a run: from here to ``finish`` it counts as unfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", *FILES, "traceback.txt"):
        if not (folder / name).is_dir():  # what isn't ours stays, and writing the file will tell
            (folder / name).unlink(missing_ok=True)


def note(folder: Path, info: dict[str, Any]) -> None:
    """Keep what training tells of itself until the run is finished by another process."""
    seal(folder, "trained", info, ("weights.npz",))


def noted(folder: Path) -> dict[str, Any]:
    """Return what training told of itself, if the weights in the folder are its weights."""
    try:
        info = summary(folder)
        told = {key: info[key] for key in ("start", "seconds", "trajectory", *surroundings())}
        return told if info["sha256"]["weights.npz"] == sha256(folder / "weights.npz") else {}
    except (RunError, KeyError, TypeError):
        return {}


def finish(folder: Path, info: dict[str, Any]) -> Run:
    """Write run.json, with which the run counts as finished, and return the run."""
    seal(folder, "finished", info, FILES)
    return read(folder)


def fail(folder: Path, described: dict[str, Any], error: BaseException, info: dict[str, Any]) -> Run:
    """Keep a failed run: its settings, its error in run.json, the traceback beside it."""
    begin(folder)
    write_settings(folder, described)
    write(folder / "traceback.txt", "".join(traceback.format_exception(error)))
    info = {"error": f"{type(error).__name__}: {error}", **info}
    seal(folder, "failed", info, ("config.yaml", "traceback.txt"))
    return read(folder)


def seal(folder: Path, status: str, info: dict[str, Any], names: tuple[str, ...]) -> None:
    """Write run.json with the sha256 of the files it vouches for, and the hash of what it says itself."""
    checksums = {name: sha256(folder / name) for name in names}
    said = {"status": status, **surroundings(), **info, "sha256": checksums}
    write(folder / "run.json", json.dumps(said | {"checksum": hash_of(said)}, indent=1) + "\n")


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@functools.cache
def surroundings() -> dict[str, Any]:
    """Return where a run was made: git commit and whether it was dirty, DVC experiment, versions, host."""

    def git(*words: str) -> str | None:
        try:
            answer = subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return None  # no git, or no repository: a run needs neither
        return answer.stdout.strip()

    status = git(
        "status", "--porcelain", "--", ":/", ":(top,exclude)experiments", ":(top,exclude)dvc.lock"
    )  # runs write there
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "dvc_revision": os.environ.get("DVC_EXP_BASELINE_REV"),  # of `dvc exp run`
        "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("dognet", "numpy", "pandas")},
        "host": platform.node(),
    }


def read(folder: Path) -> Run:
    """Read a run that is over, checked against its checksums; RunError names the file that is missing or damaged."""
    info = summary(folder)
    if info["status"] not in ("finished", "failed"):
        raise RunError(f"{folder / 'run.json'}: the run isn't over")
    needed = FILES if info["status"] == "finished" else ("config.yaml", "traceback.txt")
    for name in needed:
        path, expected = folder / name, info["sha256"].get(name)
        if not path.is_file():
            raise RunError(f"{path}: missing")
        if sha256(path) != expected:
            raise RunError(f"{path}: not as it was written (its sha256 differs from run.json's)")
    metrics = parse(folder / "metrics.json", json.loads) if "metrics.json" in needed else {}
    return Run(folder, info, settings(folder), metrics)


def summary(folder: Path) -> dict[str, Any]:
    """Read run.json, checked against what it was written as."""
    path = folder / "run.json"
    said = parse(path, json.loads)
    if said.pop("checksum", None) != hash_of(said):
        raise RunError(f"{path}: not as it was written (its checksum differs)")
    return said


def parse(path: Path, parser: Any) -> dict[str, Any]:
    """Parse a file that must hold a mapping."""
    try:
        value = parser(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: missing") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path}: {str(error).splitlines()[0]}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path}: not a mapping")
    return value


def finished(folder: Path, digest: str) -> Run | None:
    """Return the run of this digest if it stands finished and whole in the folder."""
    try:
        run = read(folder)
    except RunError:
        return None
    return run if run.finished and run.info["digest"] == digest else None


def over(folder: Path, damaged: list[str] | None = None) -> Iterator[Run]:
    """Yield each run below ``folder`` that is over, in the order of their names.

    What isn't whole is passed by, and told in the list ``damaged`` if there is one.
    """
    for path in sorted(folder.rglob("run.json")):
        try:
            yield read(path.parent)
        except RunError as error:
            if damaged is not None:
                damaged.append(str(error))


def longest_before(config: Config, runs_folder: Path, trajectory: str) -> Run | None:
    """Return the finished run of this trajectory with the most ITERS below the wanted ones."""
    pattern = folder_name(config).replace(f"ITERS={config.ITERS},", "ITERS=*,")
    shorter = {}
    for folder in runs_folder.glob(pattern):
        told = folder.name.partition("ITERS=")[2].partition(",")[0]
        if told.isdecimal() and int(told) < config.ITERS:
            shorter[int(told)] = folder
    for ITERS in sorted(shorter, reverse=True):
        try:
            run = read(shorter[ITERS])
        except RunError:
            continue
        if run.finished and run.info.get("trajectory") == trajectory and run.config["ITERS"] == ITERS:
            return run
    return None
