"""What surrounds the runs of a sweep: which are finished, how long the rest takes, a line for each that is over."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from dognet import runs
from dognet.config import Config
from dognet.errors import SweepError
from dognet.fetch import fetch
from dognet.files import sha256
from dognet.images import ImagesError
from dognet.pipeline import runs_folder
from dognet.runs import Run, RunError
from dognet.studies import Settings

NUMBER = re.compile(r"[\d.e+-]+")
FIGURES = "train loss", "test accuracy", "seconds", "time left"


class Table:
    """The lines that a sweep prints: whole in a file; on a terminal what has room there, long values cut at the front.

    Settings that are numbers stand at the right of their columns. An error that is cut stands whole at the sweep's end.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        self.digits = len(str(len(points)))
        values = {name: [self.cut(point.swept[name]) for point in points] for name in points[0].swept}
        self.widths = {
            name: max(len(name), *map(len, column))
            * (1 if all(map(NUMBER.fullmatch, column)) else -1)  # below 0: to the left
            for name, column in values.items()
        }

    def cut(self, value: str) -> str:
        """Return a setting's value as it is shown."""
        return value if self.room is None or len(value) <= 20 else f"…{value[-19:]}"

    def line(self, count: str, settings: Mapping[str, str], *figures: str) -> str:
        """Return a line, without the last figures where the terminal is too narrow for all."""
        cells = [count.rjust(2 * self.digits + 1)]
        for name, width in self.widths.items():
            cells.append(self.cut(settings[name]).rjust(width) if width > 0 else self.cut(settings[name]).ljust(-width))
        for figure in figures:
            if self.room is not None and len(figures) > 1 and len("  ".join([*cells, figure])) > self.room:
                break
            cells.append(figure)
        return "  ".join(cells)[: self.room].rstrip()

    def head(self) -> str:
        """Return the line above the others."""
        return self.line("", {name: name for name in self.widths}, *FIGURES)


@dataclass(frozen=True, eq=False)
class Point:
    """One run of a grid: its checked settings, where it lies, and the digest by which it is known as finished."""

    swept: dict[str, str]  # the settings in which the runs of the sweep differ
    overrides: list[str]
    config: Config
    folder: Path
    digest: str
    trajectory: str

    @property
    def name(self) -> str:
        """The settings that tell it from the other runs."""
        return " ".join(f"{name}={value}" for name, value in self.swept.items()) or self.folder.name

    def finished(self) -> Run | None:
        """Return its run if that is finished."""
        return runs.finished(self.folder, self.digest)

    def failure(self) -> str | None:
        """Return its run's error if that has failed."""
        try:
            run = runs.read(self.folder)
        except RunError:
            return None
        return None if run.finished else str(run.info["error"])

    def stamp(self) -> int:
        """Return when its run was last over, 0 for never."""
        try:
            return (self.folder / "run.json").stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def locate(grid: Sequence[Settings], root: Path) -> list[Point]:
    """Return the points of a grid, each once; fetches their images."""
    points: dict[Path, Point] = {}
    images: dict[str, tuple[str, str]] = {}
    for swept, overrides, config in grid:
        if config.source not in images:
            try:
                data = fetch(config, root)
            except (ImagesError, OSError) as error:
                raise SweepError(str(error)) from error
            images[config.source] = sha256(data / "train.csv"), sha256(data / "test.csv")
        train_sha256, test_sha256 = images[config.source]
        settings = runs.describe(config, train_sha256)
        digest, trajectory = runs.digest(settings, test_sha256), runs.trajectory(settings)
        folder = runs_folder(root, config.study) / runs.folder_name(config)
        point = points.setdefault(folder, Point(swept, overrides, config, folder, digest, trajectory))
        assert point.digest == digest, f"two runs for {folder}: runs.folder_name must tell them apart"
    return list(points.values())


def share(hiddenNodes: int, iterations: int) -> float:
    """Return about how much a run computes; files weigh like 300 iterations, what isn't in the nodes like 2 of them."""
    return (hiddenNodes + 2) * (iterations + 300)


def shares(todo: Sequence[Point], points: Sequence[Point]) -> dict[Point, float]:
    """Return about how much each point has to compute, where a longer run goes on from a shorter one."""
    steps: dict[str, list[int]] = {}
    for point in points:
        steps.setdefault(point.trajectory, [0]).append(point.config.ITERS)
    amounts = {}
    for point in todo:
        begin = max((ITERS for ITERS in steps[point.trajectory] if ITERS < point.config.ITERS), default=0)
        amounts[point] = share(point.config.hiddenNodes, point.config.ITERS - begin)
    return amounts


def pace(finished: Sequence[Run]) -> float:
    """Return the seconds that a share took in the finished runs that began at iteration 0; NaN if there are none."""
    whole = [run for run in finished if "continued_from" not in run.info]
    done = sum(share(run.config["hiddenNodes"], run.config["ITERS"]) for run in whole)
    return sum(run.info["seconds"] for run in whole) / done if done else float("nan")


def duration(seconds: float) -> str:
    """Return a time such as 45 s, 3 min or 2 h 20 min."""
    if seconds < 99.5:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def plan(todo: Sequence[Point], points: Sequence[Point], finished: Sequence[Run], processes: int | None) -> str:
    """Return in words how many runs there are, how many are finished, how long the rest takes (None: on a cluster)."""
    told = f"{len(points)} run{'s' if len(points) != 1 else ''}, {len(points) - len(todo)} finished, {len(todo)} to do"
    seconds = pace(finished) * sum(shares(todo, points).values()) / (processes or 1)
    if not seconds > 0:
        return told
    share_out = f"with {processes} at a time" if processes else "on one core, shared by the cluster's"
    return f"{told}, about {duration(seconds)} {share_out}"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder of runs for one sweep; the kernel lets it go when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        where = os.path.relpath(folder)
        raise SweepError(f"another sweep is at work in {where}: wait until it's over, or end it") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def shown(todo: Sequence[Point], points: Sequence[Point]) -> Iterator[None]:
    """Print a line for each run when it is over, as its folder tells: that works with every launcher."""

    def watch() -> None:
        with suppress(BrokenPipeError):  # who reads has seen enough, as `head` has; the runs go on
            show(before, points, over)

    over = threading.Event()
    before = {point: point.stamp() for point in todo}
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def show(before: dict[Point, int], points: Sequence[Point], over: threading.Event) -> None:
    """Look five times a second for runs that are over, until ``over`` is set."""
    if not before:
        return
    start, amounts = time.monotonic(), shares(list(before), points)
    whole, n_points, table = sum(amounts.values()), len(points), Table(points)
    print(table.head(), flush=True)
    last = False
    while before and not last:
        last = over.wait(0.2)
        for point in [point for point, stamp in before.items() if point.stamp() not in (0, stamp)]:
            run, error = point.finished(), point.failure()
            if run is None and error is None:
                continue
            del before[point]
            left = sum(amounts[other] for other in before)
            count = f"{n_points - len(before)}/{n_points}"
            if run is None:
                print(table.line(count, point.swept, f"failed: {error}"), flush=True)
                continue
            if len(before) == len(amounts) - 1:  # the clock starts where the first run did: its process was there
                start = time.monotonic() - run.info["seconds"]
            loss, accuracy = run.metrics["train_loss"], run.metrics["test_accuracy"]
            remains = duration((time.monotonic() - start) * left / (whole - left)) if left else ""
            figures = f"{loss:<10.4g}", f"{accuracy:<13.4f}", f"{run.info['seconds']:>7.2f}", f"{remains:>9}"
            print(table.line(count, point.swept, *figures), flush=True)
