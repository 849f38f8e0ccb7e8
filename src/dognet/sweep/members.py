"""The runs of a study: which are finished, why the others are not, and which is the best."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from dognet.errors import UserError
from dognet.runs.digest import code_digest, hash_of
from dognet.runs.folder import PIPELINE, RunError, ended_runs, read_run, run_folders, runs_folder, written_at
from dognet.runs.run import Run
from dognet.settings import PLAIN_NAME, bound
from dognet.study import Study, read_study, study_files
from dognet.sweep.grid import points_of_study

NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Members:
    """The runs of a study: those of its grid or, without a study file, all runs in its folder."""

    study: Study
    finished: list[tuple[dict[str, object], Run]]  # each with its settings by name
    missing: dict[str, str]  # the name of each other run, and why it does not count

    @property
    def command(self) -> str:
        """The command that runs the study; for a study without a file, only its beginning."""
        name, has_file = self.study.name, self.study.path.is_file()
        return f"dognet --multirun experiment={name}" if has_file else f"dognet --multirun study={name} …"


def members_of(name: str, root: Path) -> Members:
    """Return the runs of a study; UserError if none is finished."""
    if not PLAIN_NAME.fullmatch(name):
        raise UserError(f"study must be {bound('study')}, got {name!r}")
    folder, files = runs_folder(root, name), study_files(root)
    if name not in files and not folder.is_dir():
        raise UserError(f"no study {name}, there are {', '.join(sorted({*files, *studies_with_runs(root)})) or 'none'}")
    try:
        members = members_of_grid(read_study(files[name]), root) if name in files else members_of_folder(name, folder)
    except UserError as error:
        raise UserError("\n".join(f"study {name}: {line}" for line in str(error).splitlines())) from error
    if not members.finished:
        others = " of its grid" if any(run.finished for run in ended_runs(folder)) else ""
        raise UserError(f"study {name} has no finished run{others}: {members.command}")
    return members


def members_of_grid(study: Study, root: Path) -> Members:
    """Return the runs of a study's grid."""
    members = Members(study, [], {})
    for point in points_of_study(root, study):
        if run := point.run():
            of_images = {name: attrgetter(name)(point.settings) for name in point.swept if name.startswith("data.")}
            members.finished.append((settings_of(run) | of_images, run))
        else:
            members.missing[point.name] = why_missing(point.folder, point.reason())
    return members


def members_of_folder(name: str, folder: Path) -> Members:
    """Return all runs in a folder, copies only once; runs of other code and damaged runs count as missing."""
    study = Study(name, folder.with_name("study.yaml"), f"What do the runs of {name} show?", (), {}, {})
    ended = [run for run in ended_runs(folder) if run.finished]
    runs = [run for run in ended if run.manifest.code == code_digest(run.settings.method.name)]
    others = sorted(set(run_folders(folder)) - {run.folder for run in runs})
    missing = {str(path.relative_to(folder)): why_missing(path, "numeric code changed") for path in others}
    return Members(
        study, [(settings_of(run), run) for run in {run.manifest.digest: run for run in runs}.values()], missing
    )


def why_missing(folder: Path, reason: str) -> str:
    """Return why a run does not count: it does not exist, is damaged, has failed or, if it is finished, ``reason``."""
    try:
        run = read_run(folder)
    except RunError as error:
        return NOT_RUN if written_at(folder) is None else str(error).replace(f"{folder}{os.sep}", "")
    return f"{reason}: run it again" if run.finished else f"failed: {run.manifest.error}"


def settings_of(run: Run) -> dict[str, object]:
    """Return a run's settings by name, and its images by folder and by hash: files in the folder may have changed."""
    sha256 = run.images.train_sha256, run.images.validation_sha256, run.manifest.test_sha256
    content = hash_of({"sha256": sha256})[:8]
    images = {"data.positive": run.images.positive, "data": run.images.source, "images": content}
    return run.settings.training() | images


# --- the best run


def best_run(members: Members) -> Run | None:
    """Return the run with the lowest validation loss, or train loss where there are no validation images.

    None if the runs have different images: their losses can't be compared.
    """
    runs = [run for _, run in members.finished]
    tasks = {run.images.content for run in runs}
    return min(runs, key=lambda run: run.figures.selection_loss) if len(tasks) == 1 else None


def run_to_keep(name: str, root: Path) -> Run:
    """Return the run of a folder, or a study's best run; UserError where there is none."""
    for folder in (root / "experiments" / name, Path(name)):
        if written_at(folder) is not None:
            run = read_run(folder)
            if not run.finished:
                raise UserError(f"{folder}: this run failed ({run.manifest.error}), it has no network")
            return run
    if name == PIPELINE.name:
        raise UserError("pipeline has no finished run: dvc repro")
    if Path(name).is_dir() and "=" in Path(name).name:
        raise UserError(f"{name}: no run has ended here")
    path = Path(os.path.abspath(name))
    members = members_of(path.name if path.parent.resolve() == (root / "experiments").resolve() else name, root)
    for missing, reason in members.missing.items():
        if reason != NOT_RUN:
            print(f"{name}: skipped {missing}: {reason}", file=sys.stderr)
    if best := best_run(members):
        return best
    raise UserError(f"{name} has runs on different images, whose losses can't be compared: name a run's folder")


def studies_with_runs(root: Path) -> list[str]:
    """Return the studies that have a folder of runs, sorted by name."""
    return sorted(path.parent.name for path in (root / "experiments").glob("*/runs"))
