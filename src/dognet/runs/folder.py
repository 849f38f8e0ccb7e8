"""The run folder: a run's plain files, written so that only a whole one counts as finished.

    config.yaml     settings; the images by content, with the names of their pixels
    weights.npz     all that training needs to resume, and the two classes
    snapshots.npz   iterations (k,) and the weights after each of them
    curve.csv       iteration, train_loss, train_accuracy, with validation images validation_loss, validation_accuracy
    metrics.json    train, validation and test loss (nats) and accuracy, baseline, confusion counts, digest
    run.json        written last, by rename: status, digest, provenance, sha256 of every file above
    traceback.txt   of a failed run
    *.svg, *.png    pictures, which may be added later

A run has ended if its run.json exists and the checksums match. A run that was killed has no run.json.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dognet.errors import UserError
from dognet.files import sha256, sha256_once, write
from dognet.runs.digest import code_digest, hash_of, trajectory
from dognet.runs.run import ImagesId, Manifest, Metrics, Provenance, Run
from dognet.settings import TrainingSettings

PIPELINE = Path("experiments", "pipeline")  # the run folder of `dvc repro`
FILES = ("config.yaml", "weights.npz", "snapshots.npz", "curve.csv", "metrics.json")
SUMMED = {"trained": ("weights.npz",), "finished": FILES, "failed": ("config.yaml", "traceback.txt")}  # in run.json
PICTURES = ("curve.svg", "weights.svg", "activations.svg", "mistakes.svg")


class RunError(UserError):
    """A run that is missing, incomplete or damaged. The message names the file and the reason."""


def runs_folder(root: Path, study: str) -> Path:
    """Return the folder of a study's runs."""
    return root / "experiments" / study / "runs"


# --- write


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock a run's folder; others who train this run wait. The kernel releases the lock when the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that can't lock, such as NFS
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"dognet: waiting for the training in {os.path.relpath(folder)}", file=sys.stderr, flush=True)
                fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def begin(folder: Path, settings: TrainingSettings, images: ImagesId) -> None:
    """Make the folder ready for a run, which counts as unfinished until ``write_manifest``."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [f"{Path(name).stem}{suffix}" for name in PICTURES for suffix in (".svg", ".png")]
    for name in ("run.json", *FILES, *pictures, "traceback.txt"):
        if not (folder / name).is_dir():  # a folder there is not ours; writing the file will say so
            (folder / name).unlink(missing_ok=True)
    described = settings.model_dump(include=set(TrainingSettings.model_fields))
    described["data"] = images.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    write(folder / "config.yaml", text)


def new_manifest(study: str, settings: TrainingSettings, images: ImagesId, *, start: str | None) -> Manifest:
    """Return the manifest of a run that is not trained yet."""
    return Manifest(
        study=study,
        trajectory=trajectory(settings, images),
        code=code_digest(settings.method.name),
        start=start,
        provenance=provenance(),
        sha256={},
    )


def trained_manifest(folder: Path) -> Manifest:
    """Return what stage train wrote about the weights in ``folder``, or a new manifest if DVC restored the weights."""
    with suppress(RunError):  # DVC restores only its outs, and run.json is not one
        manifest = read_manifest(folder)
        if manifest.sha256.get("weights.npz") == sha256(folder / "weights.npz"):
            return manifest
    return new_manifest(folder.name, *read_config(folder), start=None)


def finish(folder: Path, test_file: Path, manifest: Manifest) -> None:
    """Write run.json, the last file of a run; all others, such as metrics.json, must exist."""
    update = {"status": "finished", "digest": read_metrics(folder).digest, "test_sha256": sha256_once(test_file)}
    write_manifest(folder, manifest.model_copy(update=update))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write run.json with the sha256 of the run's files, and a checksum of its own."""
    checksums = {name: sha256(folder / name) for name in SUMMED[manifest.status]}
    content = manifest.model_copy(update={"sha256": checksums}).model_dump(mode="json")
    write(folder / "run.json", json.dumps(content | {"checksum": hash_of(content)}, indent=1) + "\n")


def fail(folder: Path, settings: TrainingSettings, images: ImagesId, manifest: Manifest, error: BaseException) -> None:
    """Save a failed run: its settings, its error in run.json, the traceback beside it."""
    begin(folder, settings, images)
    write(folder / "traceback.txt", "".join(traceback.format_exception(error)))
    update = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    write_manifest(folder, manifest.model_copy(update=update))


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@functools.cache
def provenance() -> Provenance:
    """Return where this process makes its runs: git commit and whether it is dirty, DVC experiment, versions, host."""
    changed = git("status", "--porcelain", "--", ":/", ":(top,exclude)experiments", ":(top,exclude)dvc.lock")
    packages = {name: metadata.version(name) for name in ("dognet", "numpy", "pandas")}  # which compute
    return Provenance(
        git_commit=git("rev-parse", "HEAD"),
        git_dirty=None if changed is None else bool(changed),
        dvc_revision=os.environ.get("DVC_EXP_BASELINE_REV"),
        dvc_experiment=os.environ.get("DVC_EXP_NAME"),
        versions={"python": platform.python_version()} | packages,
        host=platform.node(),
    )


def git(*words: str) -> str | None:
    """Return the output of git; None without git or a repository, because a run needs neither.

    The project may belong to another user, which Git would refuse: we run its code anyway.
    """
    command = ["git", "-c", "safe.directory=*", *words]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


# --- read


def read_run(folder: Path) -> Run:
    """Read a run that has ended, verified by its checksums; RunError names the file that is missing or damaged."""
    manifest = read_manifest(folder)
    with reading(folder / "run.json"):
        if manifest.status == "trained":
            raise ValueError("the run is trained but not evaluated yet")
    for name in SUMMED[manifest.status]:
        with reading(folder / name) as path:
            if sha256(path) != manifest.sha256.get(name):
                raise ValueError("changed since it was written (its sha256 differs from run.json's)")
    settings, images = read_config(folder)
    metrics = read_metrics(folder) if manifest.status == "finished" else None
    return Run(folder, settings, images, manifest, metrics)


def read_manifest(folder: Path) -> Manifest:
    """Read run.json, verified by its own checksum."""
    with reading(folder / "run.json") as path:
        content = mapping(json.loads(path.read_bytes()))
        if "checksum" in content and content.get("format") is None:
            raise ValueError("made by dognet 0.1, whose runs this version trains again")
        if content.pop("checksum", None) != hash_of(content):
            raise ValueError("changed since it was written (its checksum differs)")
        return Manifest.model_validate(content)


def read_config(folder: Path) -> tuple[TrainingSettings, ImagesId]:
    """Read config.yaml."""
    with reading(folder / "config.yaml") as path:
        content = mapping(yaml.load(path.read_bytes(), yaml.CSafeLoader))  # libyaml: 10 times as fast, for 2000 runs
        images = ImagesId.model_validate(content.pop("data", {}))
        return TrainingSettings.model_validate(content), images


def read_metrics(folder: Path) -> Metrics:
    """Read metrics.json."""
    with reading(folder / "metrics.json") as path:
        return Metrics.model_validate_json(path.read_bytes())


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Read a run's file; whatever is wrong with it is raised as a RunError that names it."""
    try:
        yield path
        return
    except FileNotFoundError:
        fault = "missing"
    except ValidationError as error:
        first = error.errors()[0]
        fault = ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        fault = str(error).splitlines()[0]
    if path.parent.name == PIPELINE.name:  # after `git checkout` its files come from two commits
        fault += ": dvc repro makes the pipeline's run whole again"
    raise RunError(f"{path}: {fault}")


def mapping(content: object) -> dict[str, Any]:
    """Return the content of a file, which must be a mapping."""
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content


def finished(folder: Path, digest: str) -> Run | None:
    """Return the folder's run if it is finished and undamaged and has this digest, else None."""
    try:
        run = read_run(folder)
    except RunError:
        return None
    return run if run.finished and run.manifest.digest == digest else None


def reason_to_train(folder: Path, images: ImagesId, test_sha256: str) -> str:
    """Return why a folder's run, which is not finished with the wanted digest, must be trained."""
    if written_at(folder) is None:
        return "new"
    try:
        run = read_run(folder)
    except RunError as error:
        old = "made by dognet 0.1"
        return old if str(error).startswith(f"{folder / 'run.json'}: {old}") else "damaged"
    if not run.finished:
        return "failed"
    if (run.images.content, run.manifest.test_sha256) != (images.content, test_sha256):
        return "images changed"
    same_code = run.manifest.code == code_digest(run.settings.method.name)
    return "settings changed" if same_code else "numeric code changed"


def written_at(folder: Path) -> int | None:
    """Return when the folder's run.json was written, in nanoseconds since 1970; None if there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return (folder / "run.json").stat().st_mtime_ns
    return None


def run_folders(folder: Path) -> list[Path]:
    """Return every folder at or below ``folder`` that holds a run.json, sorted; symbolic links are followed once."""
    found, seen = [], set()
    for path, folders, files in os.walk(folder, followlinks=True):
        if (place := os.path.realpath(path)) in seen:  # as where a link leads to a folder above
            folders.clear()
        elif "run.json" in files:
            found.append(Path(path))
        seen.add(place)
    return sorted(found)


def ended_runs(folder: Path) -> Iterator[Run]:
    """Yield each run below ``folder`` that has ended; damaged runs are skipped."""
    for path in run_folders(folder):
        with suppress(RunError):
            yield read_run(path)


def longest_shorter(folder: Path, settings: TrainingSettings, images: ImagesId) -> Run | None:
    """Return the run beside ``folder`` to resume from: the longest finished one of this trajectory with fewer ITERS.

    Its validation images must be the same too, or the longer run's curve would begin with values of other images.
    """
    wanted = trajectory(settings, images), images.content
    pattern = folder.name.replace(f"ITERS={settings.ITERS}", "ITERS=*")
    beside = [run for path in folder.parent.glob(pattern) for run in ended_runs(path) if run.finished]
    same = [run for run in beside if (run.manifest.trajectory, run.images.content) == wanted]
    shorter = [run for run in same if run.settings.ITERS < settings.ITERS]
    return max(shorter, key=lambda run: run.settings.ITERS, default=None)
