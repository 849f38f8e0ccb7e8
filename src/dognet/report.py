"""A study's report: the question, the answer in words, a table over the seeds, pictures; all from its run folders.

The same runs give the same bytes: no date and no time stands there, and no more digits than another machine repeats.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from dognet import plots, runs, studies, sweep
from dognet.config import FOLDER_NAME, ConfigError, project_root
from dognet.errors import BROKEN, SweepError, one_line
from dognet.files import write
from dognet.pipeline import runs_folder
from dognet.runs import Run, RunError

SOLVED = 0.99  # the test accuracy from which a run has solved its task
CURVES = 7  # in a picture; of more, those with the least train loss
NOT_RUN = "not run"
DATA = "data.positive", "data.train_rows", "data.seed"
COLUMNS = "solved", "test accuracy", "sd", "min", "train loss", "iterations to 99 %"
LEGEND = (
    "Solved: test accuracy of at least 99 %. Test accuracy: mean, standard deviation and minimum over the seeds. Train "
    "loss: mean, in nats. Iterations to 99 %: the first recorded one with so many training images right, median."
)


@dataclass(frozen=True)
class Member:
    """A run of a study: the settings in which the runs differ; its run if finished, its error if failed."""

    swept: Mapping[str, str]
    run: Run | None
    error: str | None = None

    @property
    def name(self) -> str:
        """Its settings in words."""
        return named(self.swept)


@dataclass(frozen=True)
class Cell:
    """The finished runs that differ in their seed alone."""

    settings: Mapping[str, str]
    runs: Sequence[Run]

    def values(self, metric: str) -> list[float]:
        """Return a metric of each run."""
        return [run.metrics[metric] for run in self.runs]

    @property
    def mean_loss(self) -> float:
        """The mean train loss in nats."""
        return statistics.fmean(self.values("train_loss"))

    @property
    def solved(self) -> int:
        """How many runs have solved their task."""
        return sum(accuracy >= SOLVED for accuracy in self.values("test_accuracy"))

    @property
    def speed(self) -> float:
        """The median over the runs of the first recorded iteration with 99 % of the training images right."""
        return statistics.median(
            next((iteration for iteration, _, accuracy in run.curve() if accuracy >= SOLVED), math.inf)
            for run in self.runs
        )


def named(settings: Mapping[str, str]) -> str:
    """Return settings as on the command line."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


# --- which runs


def members_of_grid(loader: ConfigLoader, study: str, root: Path) -> list[Member]:
    """Return every run that the study's file asks for."""
    words = [f"experiment={study}"]
    master = loader.load_configuration("config", words, RunMode.MULTIRUN)
    fixed, swept = studies.split(
        [*(f"{name}={values}" for name, values in master.hydra.sweeper.params.items()), *words]
    )
    points = sweep.locate(studies.compose(studies.PointLoader(loader, fixed), master, swept), root)
    done = [point.finished() for point in points]
    return [
        Member(point.swept, run, None if run else lack(point.folder)) for point, run in zip(points, done, strict=True)
    ]


def members_of_folder(folder: Path) -> list[Member]:
    """Return every run that is over, of a study without a file; those of other code and damaged ones unfinished."""
    over = [(flat(run), run) for run in runs.over(folder)]
    swept = [
        name for name in dict.fromkeys(n for settings, _ in over for n in settings) if len(different([name], over)) > 1
    ]
    of_one_kind = len({settings["data"].partition("-")[0] for settings, _ in over}) == 1
    for name in ("images", "data") if of_one_kind else ("images", *DATA):  # what the others tell apart already
        rest = [other for other in swept if other != name]
        if name in swept and len(different(rest, over)) == len(different(swept, over)):
            swept = rest
    members = [
        Member({name: settings[name] for name in swept}, *((run, None) if current(run) else (None, lack(run.folder))))
        for settings, run in over
    ]
    members.sort(key=lambda member: [sortable(value) for value in member.swept.values()])
    damaged = {path.parent for path in sorted(folder.rglob("run.json"))} - {run.folder for _, run in over}
    return members + [Member({"run": path.name}, None, lack(path)) for path in sorted(damaged)]


def current(run: Run) -> bool:
    """Return whether a run is finished, and by the numeric code as it is now."""
    return run.finished and run.info["digest"] == runs.digest(run.config, run.info["test_sha256"])


def lack(folder: Path) -> str:
    """Return why the run of a folder isn't in the report."""
    if not (folder / "run.json").is_file():
        return NOT_RUN
    try:
        run = runs.read(folder)
    except RunError as error:
        return str(error).replace(f"{folder}{os.sep}", "")
    return "of other images or other code: run it again" if run.finished else str(run.info["error"])


def flat(run: Run) -> dict[str, str]:
    """Return a run's settings as on the command line; the images by their content too, which may have changed."""
    settings = {name: str(value) for name, value in run.config.items() if name != "data"}
    settings |= {name: str(run.config["data"].get(name.removeprefix("data."), "")) for name in DATA}
    images = runs.hash_of({"train": run.config["data"]["train_sha256"], "test": run.info.get("test_sha256")})
    return settings | {"data": str(run.config["data"]["source"]), "images": images[:8]}


def different(names: Sequence[str], over: Sequence[tuple[dict[str, str], Run]]) -> set[tuple[str, ...]]:
    """Return the combinations of these settings that the runs have."""
    return {tuple(settings[name] for name in names) for settings, _ in over}


def sortable(value: str) -> tuple[float, str]:
    """Return a key that sorts numbers as such, and words after them."""
    number = number_in(value)
    return (math.inf, value) if number is None else (number, "")


def number_in(value: str) -> float | None:
    """Return the number that a setting is, if it is one."""
    try:
        return float(value)
    except ValueError:
        return None


def cells_of(members: Sequence[Member]) -> list[Cell]:
    """Return the finished runs in groups that differ in nothing but the seed, sorted by their settings."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for member in members:
        key = tuple((name, value) for name, value in member.swept.items() if name != "seed")
        if member.run is not None:
            groups.setdefault(key, []).append(member.run)
    cells = [Cell(dict(key), members) for key, members in groups.items()]
    return sorted(cells, key=lambda cell: [sortable(value) for value in cell.settings.values()])


# --- words


def answer(cells: Sequence[Cell]) -> str:
    """Return in a sentence where the task is solved."""
    if not any(cell.solved for cell in cells):
        highest = max(accuracy for cell in cells for accuracy in cell.values("test_accuracy"))
        return f"No run solves it, which takes a test accuracy of {percent(SOLVED)}; they reach {percent(highest)}."
    if not cells[0].settings:
        (cell,) = cells
        accuracies = cell.values("test_accuracy")
        spread = f"their test accuracy lies between {percent(min(accuracies))} and {percent(max(accuracies))}"
        return f"{cell.solved} of {len(accuracies)} seeds solve it; {spread}."
    if len(cells[0].settings) > 1:
        counts = "; ".join(solved_by(name, cells) for name in cells[0].settings)
        return f"Part of the runs that solve it {counts}."
    (name,) = cells[0].settings
    every = [cell.settings[name] for cell in cells if cell.solved == len(cell.runs)]
    some = [
        f"{cell.settings[name]} ({cell.solved} of {len(cell.runs)})"
        for cell in cells
        if 0 < cell.solved < len(cell.runs)
    ]
    none = [cell.settings[name] for cell in cells if not cell.solved]
    told = [f"every seed solves it at {name} {listed(every)}" if every else f"at no {name} does every seed solve it"]
    told += [f"some do at {listed(some)}"] if some else []
    told += [f"none at {listed(none)}"] if none else []
    return f"{told[0][0].upper()}{'; '.join(told)[1:]}."


def solved_by(name: str, cells: Sequence[Cell]) -> str:
    """Return the part of the runs that solve it at each value of a setting, whatever the others are."""
    values = sorted({cell.settings[name] for cell in cells}, key=sortable)
    groups = [[cell for cell in cells if cell.settings[name] == value] for value in values]
    parts = [sum(cell.solved for cell in group) / sum(len(cell.runs) for cell in group) for group in groups]
    told = ", ".join(f"{value}: {percent(part)}" for value, part in zip(values, parts, strict=True))
    return f"by {name} {told}"


def first(cells: Sequence[Cell]) -> str:
    """Return in a sentence where it is solved after the fewest iterations."""
    quick = min(cells, key=lambda cell: cell.speed)
    if not math.isfinite(quick.speed):
        return "Nowhere do half of the seeds get 99 % of the training images right."
    settings = {name: value for name, value in quick.settings.items() if name != "ITERS"}
    at = f" at `{named(settings)}`" if settings else ""
    return f"99 % of the training images are right soonest{at}: after {quick.speed:.0f} iterations (the seeds' median)."


def least_loss(members: Sequence[Member]) -> Run | None:
    """Return the run to keep; none where they are of different images, on which losses don't compare."""
    finished = [member.run for member in members if member.run]
    if len({run.config["data"]["train_sha256"] + run.config["data"]["positive"] for run in finished}) != 1:
        return None
    return min(finished, key=lambda run: run.metrics["train_loss"])


def kept(best: Run) -> str:
    """Return in words which run is to be kept, and by what it was chosen."""
    loss, accuracy = best.metrics["train_loss"], best.metrics["test_accuracy"]
    return (
        f"Chosen by the least train loss, never by test accuracy: `{best.folder.name}`, with a train loss of "
        f"{loss:.3g} nats. Its test accuracy is {percent(accuracy)}. Its hidden nodes:"
    )


def common(members: Sequence[Member]) -> str:
    """Return the settings that all runs share."""
    run, swept = next((member.run, member.swept) for member in members if member.run)
    shared = named({name: value for name, value in flat(run).items() if name not in (*swept, "images", *DATA)})
    return f"Every run has `{shared}`."


def percent(part: float) -> str:
    """Return 0.985 as 98.5 %."""
    return f"{part * 100:.4g} %"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def table(cells: Sequence[Cell]) -> list[str]:
    """Return the table in Markdown: a row for each group of runs that differ in their seed alone."""
    rows = [[*cells[0].settings, *COLUMNS]]
    for cell in cells:
        accuracies = cell.values("test_accuracy")
        sd = f"{statistics.stdev(accuracies):.4f}" if len(accuracies) > 1 else "–"
        speed = f"{cell.speed:.0f}" if math.isfinite(cell.speed) else "–"
        figures = [f"{cell.solved} of {len(cell.runs)}", f"{statistics.fmean(accuracies):.4f}", sd]
        figures += [f"{min(accuracies):.4f}", f"{cell.mean_loss:.3g}", speed]
        rows.append([*cell.settings.values(), *figures])
    rows.insert(1, ["--:"] * len(rows[0]))
    return [f"| {' | '.join(row)} |" for row in rows]


# --- pictures


def loss_picture(cells: Sequence[Cell]) -> str:
    """Draw the train loss of each group: the median over the seeds in a band round the middle half of them."""
    shown = sorted(sorted(cells, key=lambda cell: cell.mean_loss)[:CURVES], key=cells.index)
    series, band = {}, {}
    for cell in shown:
        iterations, losses = curves(cell.runs)
        name = named(cell.settings) or "median"
        series[name] = iterations, np.median(losses, axis=0)
        with np.errstate(invalid="ignore"):  # between two infinite losses lies none: a gap
            lower, upper = np.quantile(losses, (0.25, 0.75), axis=0)
        band[name] = lower, upper
    if not cells[0].settings:
        ordered = sorted(cells[0].runs, key=lambda run: run.metrics["train_loss"])
        for run in (ordered[0], ordered[-1]):
            iterations, losses = curves([run])
            series[f"seed={run.config['seed']}"] = iterations, losses[0]
    which = "" if len(shown) == len(cells) else f" (best {CURVES} of {len(cells)})"
    title = f"Train loss: median and middle half of the seeds{which}"
    return plots.lines(series, "iteration", "train loss (nats)", title, band=band)


def curves(members: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Return the iterations that all runs have recorded (points,), and their train losses (runs, points)."""
    recorded = [{iteration: loss for iteration, loss, _ in run.curve()} for run in members]
    iterations = sorted(set.intersection(*map(set, recorded)))
    return np.array(iterations), np.array([[losses[iteration] for iteration in iterations] for losses in recorded])


def accuracy_picture(cells: Sequence[Cell]) -> str | None:
    """Draw the test accuracy over the settings: a line for one, a heat map for two, nothing for more."""
    names = list(cells[0].settings)
    means = {tuple(cell.settings.values()): statistics.fmean(cell.values("test_accuracy")) for cell in cells}
    if len(names) == 2:
        ys, xs = (sorted({key[k] for key in means}, key=sortable) for k in (0, 1))
        values = [[means.get((y, x), math.nan) for x in xs] for y in ys]
        return plots.heatmap(values, xs, ys, names[1], names[0], "Test accuracy: mean over the seeds")
    if not names:
        accuracies = sorted(cells[0].values("test_accuracy"))
        title, each = "Test accuracy of each seed", {"test accuracy": (range(1, len(accuracies) + 1), accuracies)}
        return plots.lines(each, "seeds, from worst to best", "test accuracy", title, logx=False, logy=False)
    places = [place for cell in cells if (place := number_in(cell.settings[names[0]])) is not None]
    if len(names) > 2 or len(places) < len(cells) or len(cells) < 2:
        return None
    spread = [cell.values("test_accuracy") for cell in cells]
    solved = [cell.solved / len(cell.runs) for cell in cells]
    series = {"mean accuracy": (places, list(means.values())), "solved": (places, solved)}
    band = {"mean accuracy": ([min(values) for values in spread], [max(values) for values in spread])}
    title = "Test accuracy over the seeds: mean and range"
    log = places[0] > 0 and places[-1] >= 10 * places[0]
    return plots.lines(
        series, names[0], "test accuracy; part of the seeds that solve it", title, logx=log, logy=False, band=band
    )


# --- files


def members_of(study: str, root: Path, loader: ConfigLoader) -> list[Member]:
    """Return the runs of a study: those of its file's grid, else all; SweepError if none is finished."""
    if not FOLDER_NAME[1](study):
        raise SweepError(f"study must be {FOLDER_NAME[0]}, got {study!r}")
    if study in BROKEN:
        raise SweepError(f"study {study}: {BROKEN[study]}")
    if study in studies.files(root):
        try:
            members, command = members_of_grid(loader, study, root), f"experiment={study}"
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            raise SweepError(f"study {study}: {one_line(error)}") from error
    else:
        members, command = members_of_folder(runs_folder(root, study)), f"study={study}"
    if any(member.run for member in members):
        return members
    if not members and not runs_folder(root, study).is_dir():
        there = sorted({*studies.files(root), *(path.parent.name for path in (root / "experiments").glob("*/runs"))})
        raise SweepError(f"no study {study}, there are {', '.join(there) or 'none'}")
    beside = " of its grid" if any(run.finished for run in runs.over(runs_folder(root, study))) else ""
    raise SweepError(f"study {study} has no finished run{beside}: dognet --multirun {command}")


@contextmanager
def composing(root: Path) -> Iterator[ConfigLoader]:
    """Yield Hydra's loader of conf/, which knows the project's studies."""
    studies.register(root)
    from dognet.cli import CONF  # and with it the schema of conf/config.yaml

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def run_of(name: str, root: Path) -> Run:
    """Return the run of a folder, or of a study the one to keep; RunError where there is none."""
    for folder in (root / "experiments" / name, Path(name)):
        if (folder / "run.json").is_file():
            run = runs.read(folder)
            if not run.finished:
                raise RunError(f"{folder}: this run failed ({run.info['error']}), it has no network")
            return run
    if name == runs.PIPELINE.name:
        raise RunError("pipeline has no finished run: dvc repro")
    if Path(name).is_dir() and "=" in Path(name).name:
        raise RunError(f"{name}: no run that is over")
    try:
        with composing(root) as loader:
            members = members_of(Path(name).name, root, loader)
    except SweepError as error:
        raise RunError(str(error)) from error
    for member in members:
        if member.error not in (None, NOT_RUN):
            print(f"{name}: {member.name}: {member.error}: passed by", file=sys.stderr)
    if best := least_loss(members):
        return best
    raise RunError(f"{name} has runs on different images, whose losses don't compare: name a run's folder")


def write_report(study: str, root: Path, loader: ConfigLoader, *, over_complete: bool = True) -> Path:
    """Write a study's report.md and its pictures, and experiments/README.md; SweepError if no run is finished.

    One of an incomplete grid replaces one that was complete only ``over_complete``.
    """
    members = members_of(study, root, loader)
    cells, folder, file = cells_of(members), root / "experiments" / study, studies.files(root).get(study)
    finished = sum(member.run is not None for member in members)
    if file and finished < len(members) and not over_complete and is_complete(folder / "report.md"):
        part = f"{finished} of {len(members)} runs of {study} are finished, and the report that is there has all"
        raise SweepError(f"{part}: dognet-report {study} replaces it")
    best = least_loss(members)
    weights = (best.folder / "weights.svg").read_text(encoding="utf-8") if best else None
    pictures = {"loss": loss_picture(cells), "accuracy": accuracy_picture(cells), "weights": weights}
    for name, picture in pictures.items():
        if picture:
            write(folder / f"{name}.svg", picture)
    command = f"dognet --multirun experiment={study}" if file else f"dognet --multirun study={study} …"
    question, *told = (list(studies.header(file)) if file else []) or [f"What the runs in {study} show"]
    shown = [f"![{name}]({name}.svg)" for name in ("loss", "accuracy") if pictures[name]]
    page = [f"# {question}", *answered(members, cells), *shown, *explained(members)]
    page += ["## How it was found", f"    {command}", common(members), *(text for text in told if text != command)]
    write(folder / "report.md", "\n\n".join(page) + "\n")
    write_list(root)
    return folder / "report.md"


def answered(members: Sequence[Member], cells: Sequence[Cell]) -> Iterator[str]:
    """Yield the paragraphs of the answer, of which ``question_and_answer`` reads the first two."""
    yield f"**{answer(cells)}**"
    n_finished = sum(member.run is not None for member in members)
    if n_finished < len(members):
        yield f"**Incomplete: {n_finished} of {len(members)} runs are finished**, and all figures are of these alone."
    yield first(cells)
    yield "\n".join(table(cells))
    yield LEGEND


def is_complete(report: Path) -> bool:
    """Return whether a report is there, of a grid whose runs were all finished."""
    text = report.read_text(encoding="utf-8", errors="replace") if report.is_file() else ""
    return "## How it was found" in text and "**Incomplete: " not in text


def explained(members: Sequence[Member]) -> Iterator[str]:
    """Yield the paragraphs on the best run, and on those that aren't finished."""
    if best := least_loss(members):
        yield from ("## The run to keep", kept(best), "![weights](weights.svg)")
    else:
        yield "No run is the one to keep: losses on different images don't compare."
    if lacking := [f"- `{member.name}`: {member.error}" for member in members if member.run is None]:
        yield from ("## Not finished", "\n".join(lacking))


def question_and_answer(report: Path) -> tuple[str, str]:
    """Return the question of a report and its answer, which says if it is that of an incomplete grid."""
    text = report.read_text(encoding="utf-8", errors="replace")
    question, answered, incomplete, *_ = [*text.split("\n\n"), "", ""]
    note = " (incomplete)" if incomplete.startswith("**Incomplete") else ""
    return question.removeprefix("# "), answered.strip("*") + note


def concluded(report: Path) -> str:
    """Return what a command says at its end of a report that it has written: its answer, and where it lies."""
    _, answer = question_and_answer(report)
    if sys.stdout.isatty():
        answer = textwrap.fill(answer, shutil.get_terminal_size().columns)
    return f"{answer}\n{os.path.relpath(report)}"


def write_list(root: Path) -> None:
    """Write experiments/README.md: each study's question and answer, as they stand in its report."""
    rows = ["| study | question | answer |", "|---|---|---|"]
    for name in sorted(studies.files(root)):
        report = root / "experiments" / name / "report.md"
        if report.is_file():
            cells = " | ".join(words.replace("|", "&#124;") for words in question_and_answer(report))
            rows.append(f"| [{name}]({name}/report.md) | {cells} |")
    told = (
        "Run one with `dognet --multirun experiment=<study>`; its report is written at the end, and by `dognet-report`."
    )
    write(root / "experiments" / "README.md", "\n\n".join(["# Studies", told, "\n".join(rows)]) + "\n")


def main() -> None:
    """Write the reports of the studies named, or of every study with runs."""
    parser = argparse.ArgumentParser("dognet-report", description=main.__doc__)
    parser.add_argument("studies", nargs="*", metavar="study")
    root = project_root()
    wanted = parser.parse_args().studies or [path.parent.name for path in sorted((root / "experiments").glob("*/runs"))]
    faults = [] if wanted else ["no study has runs yet: dognet --multirun experiment=width"]
    with composing(root) as loader:
        for study in wanted:
            try:
                print(concluded(write_report(study, root, loader)), flush=True)
            except (SweepError, OSError) as error:  # the other studies are reported all the same
                faults += str(error).splitlines()
    sys.exit("\n".join(f"dognet-report: {fault}" for fault in faults) or None)
