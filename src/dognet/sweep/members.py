"""The runs of a study, and the best of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dognet.errors import UserError
from dognet.runs.digest import digest, hash_of
from dognet.runs.folder import PIPELINE, RunError, ended_runs, read_run, run_folders, runs_folder
from dognet.runs.run import Run
from dognet.settings import PLAIN_NAME, bound
from dognet.sweep.grid import named, points_of_study
from dognet.sweep.study import Study, read_study, study_files

OF_IMAGES = "data.positive", "data.train_rows", "data.seed"
NOT_RUN = "not run yet"


class ReportError(UserError):
    """A study that can't be reported, or has no run to keep: why, and the way out."""


@dataclass(frozen=True)
class Member:
    """A run of a study: the settings in which the runs differ, and the run if it is finished."""

    swept: Mapping[str, str]
    run: Run | None
    missing: str = ""  # why there is no finished run

    @property
    def name(self) -> str:
        """Its settings as on the command line."""
        return named(self.swept)


def members_of(name: str, root: Path) -> tuple[Study | None, list[Member]]:
    """Return the study if it has a file, and its runs: those of its grid, else all; ReportError if none is finished."""
    if not PLAIN_NAME.fullmatch(name):
        raise ReportError(f"study must be {bound('study')}, got {name!r}")
    folder, files = runs_folder(root, name), study_files(root)
    try:
        study = read_study(files[name]) if name in files else None
        members = members_of_grid(study, root) if study else members_of_folder(folder)
    except UserError as error:
        raise ReportError("\n".join(f"study {name}: {line}" for line in str(error).splitlines())) from error
    if any(member.run for member in members):
        return study, members
    if study is None and not folder.is_dir():
        names = sorted({*files, *studies_with_runs(root)})
        raise ReportError(f"no study {name}, there are {', '.join(names) or 'none'}")
    others = " of its grid" if any(run.finished for run in ended_runs(folder)) else ""
    command = f"experiment={name}" if study else f"study={name}"
    raise ReportError(f"study {name} has no finished run{others}: dognet --multirun {command}")


def members_of_grid(study: Study, root: Path) -> list[Member]:
    """Return every run of a study's grid."""
    points = [(point, point.run()) for point in points_of_study(root, study)]
    return [Member(point.swept, run, "" if run else missing(point.folder, point.reason)) for point, run in points]


def members_of_folder(folder: Path) -> list[Member]:
    """Return every run that has ended in a folder; those of other code and the damaged ones count as missing."""
    runs = list(ended_runs(folder))
    settings = [described(run) for run in runs]
    names = differing(settings)
    members = []
    for run, values in zip(runs, settings, strict=True):
        expected = digest(run.settings, run.images, str(run.manifest.test_sha256))
        current = run.finished and run.manifest.digest == expected
        reason = "" if current else missing(run.folder, lambda: "numeric code changed")
        members.append(Member({name: values[name] for name in names}, run if current else None, reason))
    damaged = [path for path in run_folders(folder) if path not in {run.folder for run in runs}]
    return members + [Member({"run": path.name}, None, missing(path, str)) for path in damaged]


def missing(folder: Path, reason: Callable[[], str]) -> str:
    """Return why a folder has no finished run that counts; ``reason`` knows why a whole one does not."""
    if not (folder / "run.json").is_file():
        return NOT_RUN
    try:
        run = read_run(folder)
    except RunError as error:
        return str(error).replace(f"{folder}{os.sep}", "")
    return f"{reason()}: run it again" if run.finished else f"failed: {run.manifest.error}"


def described(run: Run) -> dict[str, str]:
    """Return a run's settings as on the command line; the images by their content too, which may have changed."""
    of_images = dict(zip(OF_IMAGES, (run.images.positive, run.images.train_rows, run.images.seed), strict=True))
    content = hash_of({"train": run.images.train_sha256, "test": run.manifest.test_sha256})[:8]
    values = run.settings.training() | of_images | {"data": run.images.source, "images": content}
    return {name: "" if value is None else str(value) for name, value in values.items()}


def differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the settings in which runs differ, without those of the images that follow from the others."""

    def combinations(names: Sequence[str]) -> int:
        return len({tuple(values[name] for name in names) for values in settings})

    names = [name for name in (settings[0] if settings else ()) if combinations([name]) > 1]
    of_one_kind = len({values["data"].partition("-")[0] for values in settings}) == 1
    for name in ("images", "data") if of_one_kind else ("images", *OF_IMAGES):
        rest = [other for other in names if other != name]
        if name in names and combinations(rest) == combinations(names):
            names = rest
    return names


# --- the best run


def selection_loss(run: Run) -> float:
    """Return the loss, in nats, by which the best run is chosen; never a figure of the test images."""
    return run.figures.train_loss


def best_run(members: Sequence[Member]) -> Run | None:
    """Return the run with the least selection loss; None where the runs have different images: losses don't compare."""
    runs = [member.run for member in members if member.run]
    if len({(run.images.train_sha256, run.images.positive) for run in runs}) != 1:
        return None
    return min(runs, key=selection_loss)


def run_to_keep(name: str, root: Path) -> Run:
    """Return the run of a folder, or a study's best run; RunError or ReportError where there is none."""
    for folder in (root / "experiments" / name, Path(name)):
        if (folder / "run.json").is_file():
            run = read_run(folder)
            if not run.finished:
                raise ReportError(f"{folder}: this run failed ({run.manifest.error}), it has no network")
            return run
    if name == PIPELINE.name:
        raise ReportError("pipeline has no finished run: dvc repro")
    if Path(name).is_dir() and "=" in Path(name).name:
        raise ReportError(f"{name}: no run has ended here")
    _, members = members_of(Path(name).name, root)
    for member in members:
        if member.missing not in ("", NOT_RUN):
            print(f"{name}: skipped {member.name}: {member.missing}", file=sys.stderr)
    if best := best_run(members):
        return best
    raise ReportError(f"{name} has runs on different images, whose losses don't compare: name a run's folder")


def studies_with_runs(root: Path) -> list[str]:
    """Return the studies that have a folder of runs, sorted by name."""
    return sorted(path.parent.name for path in (root / "experiments").glob("*/runs"))
