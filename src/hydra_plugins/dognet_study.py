"""The sweeper: checks every run before the first one trains, skips the finished, names the failed."""

from __future__ import annotations

import copy
import functools
import gc
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dognet.interrupt import end_with

if TYPE_CHECKING:
    from dognet.sweep import Point


class StudySweeper(Sweeper):
    """Does a run for each combination of the values given, in one study, with any launcher."""

    def __init__(self, params: Any):
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over; the task is ``work`` below, not the one for a single run."""
        self.context, self.settings = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Check all, skip the finished, launch the rest; SweepError names the failed."""
        from dognet import report, runs, studies, sweep, sync
        from dognet.config import project_root
        from dognet.errors import SweepError
        from dognet.pipeline import runs_folder

        if not isinstance(self.params, Mapping):
            raise SweepError(f"hydra.sweeper.params must be a grid, as in {{seed: '1,2'}}, got {self.params!r}")
        if self.settings.hydra.launcher.get("n_jobs") == 0:
            raise SweepError("hydra.launcher.n_jobs must be a number of processes, or -1 for all cores, got 0")
        fixed, swept = studies.split([*(f"{name}={values}" for name, values in self.params.items()), *arguments])
        loader = studies.PointLoader(self.context.config_loader, fixed)
        root = project_root()
        grid = studies.compose(loader, self.settings, swept)
        _, _, config = grid[0]  # study, force, plan and tracking_uri are the same in all
        folder = runs_folder(root, config.study)
        recording = nullcontext() if config.plan else sync.following(config.study, config.tracking_uri, root)
        with recording:  # from now on, for MLflow takes its time to start
            points = sweep.locate(grid, root)
            finished = [] if config.force else [run for point in points if (run := point.finished())]
            folders = {run.folder for run in finished}
            todo = [point for point in points if point.folder not in folders]
            todo.sort(
                key=lambda point: (point.config.ITERS, -point.config.hiddenNodes)
            )  # long runs last would end alone
            timed = finished or [run for run in runs.over(folder) if run.finished]
            on_cluster = "address" in self.settings.hydra.launcher
            print(f"study {config.study}: {sweep.plan(todo, points, timed, None if on_cluster else self.processes())}")
            if config.plan:
                return
            with sweep.alone(folder):
                with sweep.shown(todo, points), deaf_workers():
                    failures = self.launch(loader, todo)
                try:  # while the last runs are recorded
                    path = report.write_report(config.study, root, self.context.config_loader, over_complete=False)
                    print(report.concluded(path), flush=True)
                except (SweepError, OSError) as error:  # these runs were beside the study's grid, or all have failed
                    print(f"no report: {error}")
        if failures:
            raise SweepError("\n".join(f"{point.name}: {error}" for point, error in failures.items()))

    def launch(self, loader: object, todo: Sequence[Point]) -> dict[Point, str]:
        """Run the points with Hydra's launcher and return the errors of those that failed."""
        from dognet import studies

        context = HydraContext(config_loader=cast(ConfigLoader, loader), callbacks=self.context.callbacks)
        launcher = Plugins.instance().instantiate_launcher(context, work, self.settings)
        settings = studies.light(copy.deepcopy(self.settings))  # joblib sends both along with every run
        launcher.setup(hydra_context=context, task_function=work, config=settings)
        HydraConfig.instance().set_config(settings)
        if hasattr(launcher, "joblib"):  # a worker may lose its sweep before its first run, and would wait on
            launcher.joblib |= {"initializer": end_with, "initargs": (os.getpid(),)}
        before = {point: point.stamp() for point in todo}
        errors: dict[Point, str | None] = {}

        def run(points: Sequence[Point]) -> bool:
            try:
                jobs = launcher.launch([point.overrides for point in points], initial_job_idx=0)
            except BrokenExecutor:  # a worker was killed, and all others with it
                return False
            errors.update((point, job.return_value) for point, job in zip(points, jobs, strict=True))
            return True

        left = list(todo)
        while left and not run(left):
            left = [point for point in left if point.stamp() in (0, before[point])]
            for point in left[: self.processes()]:  # one of these it was: alone it harms no other
                run([point])
            left = left[self.processes() :]
        killed = "its process was killed, perhaps for want of memory"
        changed = "its images or dognet's code have changed meanwhile: repeat the command"
        ended = {p for p in todo if p.stamp() not in (0, before[p])}
        return {
            p: p.failure() or errors.get(p) or (changed if p in ended else killed) for p in todo if not p.finished()
        }

    def processes(self) -> int:
        """Return how many runs the launcher does at a time."""
        if "n_jobs" not in self.settings.hydra.launcher:
            return 1
        from joblib import effective_n_jobs

        return int(effective_n_jobs(self.settings.hydra.launcher.n_jobs))


@contextmanager
def deaf_workers() -> Iterator[None]:
    """Keep Ctrl-C, which goes to every process of a terminal, from the workers started meanwhile: we end them.

    They inherit what this thread has blocked; another thread of ours hears it, and Python has this one act on it.
    """
    from joblib.externals.loky.backend import resource_tracker as its_own

    for tracker in (resource_tracker, its_own):
        tracker.ensure_running()  # the start of these processes would unblock it again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def work(settings: DictConfig) -> str | None:
    """Do one run of a sweep in the process that the launcher chose, and return its error."""
    from dognet import pipeline
    from dognet.cli import checked
    from dognet.config import project_root

    settle()
    hydra = HydraConfig.get()
    config = checked(settings, hydra.runtime.choices["data"])
    try:
        pipeline.run(config, project_root(), overrides=list(hydra.overrides.task))
    except Exception as error:  # whatever it is, the other runs go on, and the sweep names it at its end
        return f"{type(error).__name__}: {error}"
    return None


@functools.cache
def settle() -> None:
    """Make a worker quick."""
    gc.freeze()  # what is imported stays: no need to look through it again and again
