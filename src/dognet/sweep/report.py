"""A study's report: the question, the answer in words, tables and pictures, all made from the run folders.

Beside report.md is report.json, with the answer and the number of runs behind it. Git keeps both, but no runs: in a
clone the list of studies is made from these files, and a sweep reads there whether it would replace a complete report.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from dognet.errors import ImagesError, UserError
from dognet.files import write
from dognet.runs.folder import run_folders, written_at
from dognet.runs.run import Run
from dognet.settings import Model
from dognet.study import study_files
from dognet.sweep.members import Members, best_run, members_of, studies_with_runs

if TYPE_CHECKING:
    from dognet.sweep.summary import Summary

NAMED = 8  # if more runs are missing, the reasons are counted


class Report(Model):
    """The content of report.json: a study's question, its answer and the number of its runs."""

    path: Path = Field(exclude=True)  # report.md
    question: str
    answer: str
    runs: int
    finished: int

    @property
    def short(self) -> str:
        """The answer, with a mark if runs of the study are missing."""
        return self.answer if self.finished == self.runs else f"{self.answer} (incomplete)"


def read_report(folder: Path) -> Report | None:
    """Return the report that a study's folder holds; None if there is none, or a damaged one."""
    try:
        content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return Report(path=(folder / "report.md").resolve(strict=True), **content)
    except (OSError, TypeError, ValueError):
        return None


def current_report(name: str, root: Path) -> Report | None:
    """Return the study's report if no run has come or gone since it was written, and no setting has changed."""
    folder = root / "experiments" / name
    conf = filter(Path.is_file, (root / "conf").rglob("*.yaml"))  # an editor may leave a link to nothing
    settings = [*folder.glob("study.yaml"), *conf]  # they decide which runs are the study's
    report = read_report(folder)
    written = (folder / "report.json").stat().st_mtime_ns if report else 0
    changed = [path.stat().st_mtime_ns for path in (folder / "runs", *settings)]
    changed += [written_at(path) or 0 for path in run_folders(folder / "runs")]
    return report if max(changed) < written else None


def write_report(name: str, root: Path, *, replace_complete: bool = True) -> Report:
    """Write a study's report and its pictures, and the list of studies; UserError if no run is finished.

    An incomplete report replaces a complete one only with ``replace_complete``.
    """
    from dognet.sweep.summary import Summary  # imports scipy and matplotlib, for which no run should wait

    members = members_of(name, root)
    study, folder, finished = members.study, root / "experiments" / name, len(members.finished)
    runs, before = finished + len(members.missing), read_report(folder)
    if study.path.is_file() and not replace_complete and finished < runs and before and before.finished == before.runs:
        count = f"{finished} of {runs} runs of {name} are finished"
        raise UserError(f"{count}, and the existing report has all: dognet report {name} replaces it")
    summary = Summary(members.finished, study.solved)
    answer = summary.answer()
    report = Report(path=folder / "report.md", question=study.question, answer=answer, runs=runs, finished=finished)
    pictures = draw(summary, best_run(members), folder, root)
    paragraphs = filter(None, page(report, summary, members, pictures))
    write(report.path, "\n\n".join(paragraphs) + "\n")
    write(folder / "report.json", report.model_dump_json(indent=1) + "\n")
    write_index(root)
    return report


def draw(summary: Summary, best: Run | None, folder: Path, root: Path) -> dict[str, str]:
    """Draw loss, gap and accuracy, and the best run's weights; return a paragraph for each picture that there is."""
    from dognet.pictures import save  # imports matplotlib, as plot does
    from dognet.stages.plot import plot

    figures = {
        "loss": summary.loss_picture(),
        "gap": summary.gap_picture(),
        "accuracy": summary.accuracy_picture(),
        "weights": None,
    }
    for name, figure in figures.items():
        if figure:
            save(figure, folder / f"{name}.svg")
        else:
            (folder / f"{name}.svg").unlink(missing_ok=True)
    if best:
        with suppress(ImagesError):  # the images of an old run are gone: the report goes without this picture
            if not (best.folder / "weights.svg").is_file():
                plot(best, root)
        with suppress(FileNotFoundError):
            write(folder / "weights.svg", (best.folder / "weights.svg").read_bytes())
    return {path.stem: f"![{path.stem}]({path.name})" for path in folder.glob("*.svg")}


def page(report: Report, summary: Summary, members: Members, pictures: Mapping[str, str]) -> Iterator[str]:
    """Yield the paragraphs of a report; those that it does not need are empty."""
    complete = report.finished == report.runs
    yield f"# {report.question}"
    yield f"**{report.answer}** {summary.fastest()}"
    if not complete:
        yield f"**Incomplete: {report.finished} of {report.runs} runs are finished.** All figures are theirs."
    yield summary.table()
    yield from (pictures.get(name, "") for name in ("loss", "accuracy"))
    yield summary.overfitting()
    yield pictures.get("gap", "")
    yield summary.comparisons()
    yield f"## The best run\n\n{describe(best_run(members))}"
    yield pictures.get("weights", "")
    yield "" if complete else f"## Missing runs\n\n{missing_runs(members.missing)}"
    yield f"## How to repeat it\n\n    {members.command}"
    yield f"Every {'' if complete else 'finished '}run has {summary.shared}."
    yield from (note for note in members.study.notes if note != members.command)


def describe(best: Run | None) -> str:
    """Return in words which run is the best, and by what it was chosen."""
    if best is None:
        return "There is none: the runs have different images, and losses on different images can't be compared."
    figures = best.figures
    chosen = f"`{best.folder.name}` has the lowest {figures.chosen_by.replace('_', ' ')}"
    balanced = figures.balanced_accuracy
    also = "" if balanced is None else f", its balanced accuracy {100 * balanced:.4g} %"
    accuracy = (
        f"Its test accuracy is {100 * figures.test_accuracy:.4g} % (baseline {100 * figures.baseline:.4g} %){also}"
    )
    words = f"{chosen}, {figures.selection_loss:.3g} nats. The test images play no part in this choice. {accuracy}."
    return "\n\n".join([words, *confusion(best)])


def confusion(run: Run) -> Iterator[str]:
    """Yield the table that counts the test images by class and answer, unless the run is too old to have it."""
    figures = run.figures
    if figures.true_positives is None:
        return
    positive = run.images.positive.replace("|", "&#124;")
    yield "\n".join([
        f"| test images | answer: {positive} | answer: not {positive} |",
        "| --: | --: | --: |",
        f"| {positive} | {figures.true_positives} | {figures.false_negatives} |",
        f"| not {positive} | {figures.false_positives} | {figures.true_negatives} |",
    ])  # fmt: skip


def missing_runs(missing: Mapping[str, str]) -> str:
    """Return a list of the missing runs; if there are many, a list of the reasons with the first three runs of each."""
    if len(missing) <= NAMED:
        return "\n".join(f"- `{name}`: {reason}" for name, reason in missing.items())
    names: dict[str, list[str]] = {}
    for name, reason in missing.items():
        names.setdefault(reason, []).append(f"`{name}`")
    first = {reason: ", ".join(some[:3]) + ", …" * (len(some) > 3) for reason, some in names.items()}
    return "\n".join(f"- {len(names[reason])} runs: {reason}: {first[reason]}" for reason in names)


# --- the list of studies, and the command


def write_index(root: Path) -> None:
    """Write experiments/README.md: the question and the answer of each study that has a file and a report."""
    rows = ["| study | question | answer |", "|---|---|---|"]
    for name in study_files(root):
        if report := read_report(root / "experiments" / name):
            cells = " | ".join(text.replace("|", "&#124;") for text in (report.question, report.short))
            rows.append(f"| [{name}]({name}/report.md) | {cells} |")
    usage = (
        "Run a study with `dognet --multirun experiment=<study>`. The sweep writes its report at the end; "
        "`dognet report <study>` writes it again."
    )
    write(root / "experiments" / "README.md", "\n\n".join(["# Studies", usage, "\n".join(rows)]) + "\n")


def conclusion(report: Report) -> str:
    """Return what a command prints when it has written a report: the answer, and where the report is."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    return f"{textwrap.fill(report.short, width)}\n{os.path.relpath(report.path)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dognet report``."""
    parser.add_argument("studies", nargs="*", metavar="study", help="default: every study with runs")


def command(options: argparse.Namespace, root: Path) -> None:
    """Write the reports of the named studies, or of every study with runs."""
    studies = options.studies or studies_with_runs(root)
    errors = [] if studies else ["no study has runs yet: dognet --multirun experiment=width"]
    for study in studies:
        try:
            report = write_report(study, root)
        except (UserError, OSError) as error:  # the other studies are reported all the same
            errors.append(str(error))
        else:
            print(conclusion(report), flush=True)
    if errors:
        raise UserError("\n".join(errors))
