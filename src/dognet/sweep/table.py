"""What a sweep prints: how many runs must be trained and why, and a line for each run that has ended."""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from dognet.interrupt import print_no_more
from dognet.runs.digest import trajectory
from dognet.runs.folder import ended_runs
from dognet.runs.run import Run
from dognet.stages.train import cost_of
from dognet.sweep.grid import PlannedRun

NUMBER = re.compile(r"[\d.e+-]+")
OVERHEAD = 0.03  # seconds: what a run takes beside its iterations and the reading of its images
FIGURES = "train loss", "test accuracy", "seconds", "time left"


def cost_of_each(points: Sequence[PlannedRun]) -> dict[PlannedRun, float]:
    """Estimate how much each point has to compute: a longer run resumes from a shorter one."""
    amounts, done = {}, Counter[object]()
    for point in sorted(points, key=lambda point: point.settings.ITERS):
        curve = trajectory(point.settings, point.images), point.images.content
        amounts[point] = cost_of(point.settings, done[curve])
        done[curve] = point.settings.ITERS
    return amounts


def time_for(todo: Iterable[float], seconds: Sequence[float], done: Sequence[float]) -> float:
    """Estimate the seconds that runs of this work take, at the pace of other runs; NaN if there are none."""
    if not sum(done):
        return float("nan")
    pace = max(sum(seconds) - OVERHEAD * len(done), 0) / sum(done)
    return sum(OVERHEAD + pace * work for work in todo)


def duration(seconds: float) -> str:
    """Return a time such as 45 s, 3 min or 2 h 20 min."""
    if seconds < 99.5:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def plan(
    todo: Sequence[PlannedRun], points: Sequence[PlannedRun], finished: Sequence[Run], processes: int | None
) -> str:
    """Return the plan of a sweep: how many runs are finished, why the others must be trained, and how long it takes.

    The time is estimated from the finished runs, else from others of the study. ``processes`` is None on a cluster.
    """
    words = f"{len(points)} run{'s' if len(points) != 1 else ''}, {len(points) - len(todo)} finished, {len(todo)} to do"
    reasons = Counter("forced" if point.run() else point.reason() for point in todo)
    if set(reasons) - {"new"}:
        words += f" ({', '.join(f'{count} {reason}' for reason, count in reasons.most_common())})"
    others = finished or [run for run in ended_runs(points[0].folder.parent) if run.finished]
    whole = [run for run in others if run.manifest.continued_from is None and run.manifest.seconds is not None]
    alike = [run for run in whole if run.images.train_sha256 == points[0].images.train_sha256] or whole
    if not (todo and alike):
        return words
    amounts = cost_of_each(points)
    took = [(run.manifest.seconds or 0) - run.manifest.reading for run in alike]
    seconds = time_for([amounts[point] for point in todo], took, [cost_of(run.settings) for run in alike])
    seconds = seconds / (processes or 1) + max(run.manifest.reading for run in alike)  # that once in each process
    if not seconds > 0:
        return words
    return f"{words}, about {duration(seconds)} {f'with {processes} at a time' if processes else 'on one core'}"


class Table:
    """The table of a sweep: complete in a file; on a terminal as many columns as fit, with long values shortened."""

    def __init__(self, points: Sequence[PlannedRun]) -> None:
        self.room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        self.digits = len(str(len(points)))
        names = dict.fromkeys(name for point in points for name in point.swept)
        self.formats: dict[str, str] = {}  # of each setting
        for name in names:
            values = [self.shortened(point.swept.get(name, "")) for point in points]
            side = ">" if all(map(NUMBER.fullmatch, values)) else "<"
            self.formats[name] = f"{side}{max(len(name), *map(len, values))}"

    def shortened(self, value: str) -> str:
        """Return a setting's value as it is shown."""
        return value if self.room is None or len(value) <= 20 else f"…{value[-19:]}"

    def line(self, count: str, settings: Mapping[str, str], *figures: str) -> str:
        """Return a line, without the last figures where the terminal is too narrow for all of them."""
        cells = [f"{self.shortened(settings.get(name, '')):{layout}}" for name, layout in self.formats.items()]
        cells = [count.rjust(2 * self.digits + 1), *cells]
        for figure in figures:
            if self.room is not None and len(figures) > 1 and len("  ".join([*cells, figure])) > self.room:
                break
            cells.append(figure)
        return "  ".join(cells)[: self.room].rstrip()


def seconds_left(ends: Sequence[float], done: Sequence[float], left: Sequence[float], processes: int | None) -> float:
    """Estimate the seconds until the runs that have not ended are done, with ``processes`` runs at a time.

    ``done`` is the work of the runs that have ended, in that order, and ``left`` that of the others. ``ends`` has the
    time of the start once for each process, then the end of each run: the k-th run began at ``ends[k]``. On a cluster,
    where ``processes`` is None, it has the time of the start once.
    """
    if processes is None:
        return (ends[-1] - ends[0]) * sum(left) / sum(done)
    took = [end - began for began, end in zip(ends, ends[processes:], strict=False)]
    first = processes if len(took) > processes else 0  # the first run of each process reads the images as well
    elapsed = [ends[-1] - began for began in ends[len(took) : len(took) + len(left)]]  # of the runs in progress
    whole = time_for(left, took[first:], done[first:])
    last_begun = whole / len(left) - elapsed[-1]
    return max(last_begun, (whole - sum(elapsed)) / min(processes, len(left)))


@contextmanager
def progress(todo: Sequence[PlannedRun], points: Sequence[PlannedRun], processes: int | None) -> Iterator[None]:
    """Print a line for each run when it ends. Its folder shows the end, so this works with every launcher."""

    def watch() -> None:
        try:
            show(todo, points, processes, ended)
        except BrokenPipeError:  # the runs go on
            print_no_more()

    ended = threading.Event()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def show(
    todo: Sequence[PlannedRun], points: Sequence[PlannedRun], processes: int | None, ended: threading.Event
) -> None:
    """Look five times a second for runs that have ended, until ``ended`` is set."""
    amounts, n_points, table = cost_of_each(points), len(points), Table(points)
    ends: list[float] = []
    done: list[float] = []
    print(table.line("", {name: name for name in table.formats}, *FIGURES), flush=True)
    waiting, last = list(todo), False
    while waiting and not last:
        last = ended.wait(0.2)
        for point in [point for point in waiting if point.ended]:
            run, error = point.run(), point.failure()
            if run is None and error is None:
                continue
            waiting.remove(point)
            count = f"{n_points - len(waiting)}/{n_points}"
            if run is None:
                print(table.line(count, point.swept, f"failed: {error}"), flush=True)
                continue
            now = time.monotonic()
            if not ends:  # the clock starts with the first run, when the processes are there
                ends = [now - (run.manifest.seconds or 0)] * (processes or 1)
            ends.append(now)
            done.append(amounts[point])
            left = [amounts[other] for other in waiting]
            remaining = duration(seconds_left(ends, done, left, processes)) if left and sum(done) else ""
            figures = f"{run.figures.train_loss:<10.4g}", f"{run.figures.test_accuracy:<13.4f}"
            times = f"{run.manifest.seconds or 0:>7.2f}", f"{remaining:>9}"
            print(table.line(count, point.swept, *figures, *times), flush=True)
