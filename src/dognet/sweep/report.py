"""A study's report: the question, the answer in words, tables and pictures, all made from the run folders.

Beside report.md stands report.json with the answer and how many runs it rests on. Git keeps both, but no runs: in a
clone the list of studies is made from these files, and a sweep sees there whether it would replace a complete report.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from dognet.data.images import ImagesError
from dognet.errors import UserError
from dognet.files import write
from dognet.runs.run import Run
from dognet.settings import Model, TrainingSettings
from dognet.sweep.grid import named
from dognet.sweep.members import Member, ReportError, best_run, described, members_of, run_to_keep, studies_with_runs
from dognet.sweep.study import SOLVED, Study, study_files

if TYPE_CHECKING:
    from dognet.sweep.summary import Summary

__all__ = ["Report", "ReportError", "conclusion", "read_report", "run_to_keep", "write_index", "write_report"]


class Report(Model):
    """A report that is written: report.json."""

    path: Path = Field(exclude=True)  # report.md
    question: str
    answer: str
    runs: int
    finished: int

    @property
    def complete(self) -> bool:
        """Whether all runs of the study were finished."""
        return self.finished == self.runs


def read_report(folder: Path) -> Report | None:
    """Return the report that a study's folder holds; None if there is none, or a damaged one."""
    try:
        content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return Report(path=(folder / "report.md").resolve(strict=True), **content)
    except (OSError, TypeError, ValueError):
        return None


def write_report(study: str, root: Path, *, replace_complete: bool = True) -> Report:
    """Write a study's report and its pictures, and the list of studies; ReportError if no run is finished.

    An incomplete report replaces a complete one only with ``replace_complete``.
    """
    from dognet.sweep.summary import summarize  # and scipy with it: a sweep's workers import this module and don't wait

    folder = root / "experiments" / study
    file, members = members_of(study, root)
    if file and not replace_complete:
        check_complete(members, study, read_report(folder))
    done = [(member.swept, member.run) for member in members if member.run]
    summary = summarize(done, file.solved if file else SOLVED)
    report = Report(
        path=folder / "report.md",
        question=file.question if file else f"What do the runs of {study} show?",
        answer=summary.answer(),
        runs=len(members),
        finished=len(done),
    )
    pictures = draw(summary, best_run(members), folder, root)
    page = [
        *results(report, summary, pictures),
        *explanation(summary, members, pictures),
        *origin(file, study, members),
    ]
    write(report.path, "\n\n".join(filter(None, page)) + "\n")
    write(folder / "report.json", report.model_dump_json(indent=1) + "\n")
    write_index(root)
    return report


def check_complete(members: Sequence[Member], study: str, before: Report | None) -> None:
    """Raise ReportError if the report that is there has all runs, and a new one would not."""
    n_finished = sum(member.run is not None for member in members)
    if n_finished < len(members) and before and before.complete:
        raise ReportError(
            f"{n_finished} of {len(members)} runs of {study} are finished, and the report that is there has all: "
            f"dognet report {study} replaces it"
        )


def draw(summary: Summary, best: Run | None, folder: Path, root: Path) -> list[str]:
    """Draw loss and accuracy, and the best run's weights; return the names of the pictures that there are."""
    from dognet.pictures import save
    from dognet.stages.plot import plot  # and matplotlib with it

    for name, figure in {"loss": summary.loss_picture(), "accuracy": summary.accuracy_picture()}.items():
        if figure is None:
            (folder / f"{name}.svg").unlink(missing_ok=True)
        else:
            save(figure, folder / f"{name}.svg")
    (folder / "weights.svg").unlink(missing_ok=True)
    if best:
        with suppress(ImagesError):  # the images of an old run are gone: the report goes without this picture
            plot(best, root)
        if (best.folder / "weights.svg").is_file():
            shutil.copyfile(best.folder / "weights.svg", folder / "weights.svg")
    return [name for name in ("loss", "accuracy", "weights") if (folder / f"{name}.svg").is_file()]


def results(report: Report, summary: Summary, pictures: Sequence[str]) -> Iterator[str]:
    """Yield the paragraphs with the question, the answer and the figures."""
    yield f"# {report.question}"
    yield f"**{report.answer}**"
    if not report.complete:
        count = f"{report.finished} of {report.runs} runs are finished"
        yield f"**Incomplete: {count}.** Everything below is about the finished runs."
    yield summary.fastest()
    yield summary.groups_table()
    yield from (f"![{name}]({name}.svg)" for name in ("loss", "accuracy") if name in pictures)
    if compared := summary.comparisons():
        yield from ("## Neighbouring settings compared", compared)


def explanation(summary: Summary, members: Sequence[Member], pictures: Sequence[str]) -> Iterator[str]:
    """Yield the paragraphs on the best run, on the runs that are missing and on every single run."""
    yield "## The best run"
    yield summary.best_sentence(best_run(members))
    yield "![weights](weights.svg)" if "weights" in pictures else ""
    if absent := [f"- `{member.name}`: {member.missing}" for member in members if member.run is None]:
        yield from ("## Missing runs", "\n".join(absent))
    yield from ("## The test accuracy of every run, in percent", summary.runs_table())


def origin(study: Study | None, name: str, members: Sequence[Member]) -> Iterator[str]:
    """Yield the paragraphs that say how to repeat the study, and what its file says about it."""
    command = f"dognet --multirun experiment={name}" if study else f"dognet --multirun study={name} …"
    yield "## How to repeat it"
    yield f"    {command}"
    swept = {setting for member in members for setting in member.swept}
    runs = [set(described(member.run).items()) for member in members if member.run]
    shared = {setting: value for setting, value in set.intersection(*runs) if setting not in swept}
    words = named({setting: shared[setting] for setting in TrainingSettings.model_fields if setting in shared})
    images = f" and the images in `data/{shared['data']}/`" if "images" in shared and "data" in shared else ""
    yield f"Every run has `{words}`{images}." if words else ""
    yield from (note for note in (study.notes if study else ()) if note != command)


# --- the list of studies


def write_index(root: Path) -> None:
    """Write experiments/README.md: the question and the answer of each study that has a file and a report."""
    rows = ["| study | question | answer |", "|---|---|---|"]
    for name in study_files(root):
        if report := read_report(root / "experiments" / name):
            answer = report.answer if report.complete else f"{report.answer} (incomplete)"
            cells = " | ".join(text.replace("|", "&#124;") for text in (report.question, answer))
            rows.append(f"| [{name}]({name}/report.md) | {cells} |")
    usage = (
        "Run a study with `dognet --multirun experiment=<study>`. The sweep writes its report at the end; "
        "`dognet report <study>` writes it again."
    )
    write(root / "experiments" / "README.md", "\n\n".join(["# Studies", usage, "\n".join(rows)]) + "\n")


# --- the command


def conclusion(report: Report) -> str:
    """Return what a command prints when it has written a report: the answer, and where the report is."""
    answer = report.answer if report.complete else f"{report.answer} (incomplete)"
    if sys.stdout.isatty():
        answer = textwrap.fill(answer, shutil.get_terminal_size().columns)
    return f"{answer}\n{os.path.relpath(report.path)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dognet report``."""
    parser.add_argument("studies", nargs="*", metavar="study", help="default: every study with runs")


def command(options: argparse.Namespace, root: Path) -> None:
    """Write the reports of the named studies, or of every study with runs."""
    studies = options.studies or studies_with_runs(root)
    if not studies:
        raise ReportError("no study has runs yet: dognet --multirun experiment=width")
    errors = []
    for study in studies:
        try:
            print(conclusion(write_report(study, root)), flush=True)
        except (UserError, OSError) as error:  # the other studies are reported all the same
            errors.append(str(error))
    if errors:
        raise ReportError("\n".join(errors))
