"""A sweep: every run is validated before the first one trains, finished runs are skipped, failed ones are named."""

from __future__ import annotations

import importlib
import json
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import TimeoutError, resource_tracker
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout
from hydra._internal.callbacks import Callbacks
from hydra.conf import HydraConf, JobConf, SweepDir
from hydra.core.config_loader import ConfigLoader
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dognet.conf import compose_with_hydra, name_of, one_line
from dognet.errors import UserError
from dognet.interrupt import end_with
from dognet.project import check_source, project_root
from dognet.runs.folder import runs_folder
from dognet.settings import Settings, SettingsError
from dognet.stages.once import run_once
from dognet.stages.train import cost_of
from dognet.sweep import report, table
from dognet.sweep.grid import PlannedRun, make_grid, split
from dognet.sweep.words import HYDRAS, kept
from dognet.tracking.sync import following, has_all


def start(words: Sequence[str], root: Path) -> None:
    """Compose conf/ with the words that have one value, and start Hydra's sweeper, which calls ``sweep``.

    ``hydra.main`` does the same, but composes three times: 0.2 s more before each sweep. Hydra's Callbacks are private.
    """
    config = compose_with_hydra(root, split(words)[0])
    try:
        context = HydraContext(config_loader=cast(ConfigLoader, JobLoader()), callbacks=Callbacks(config))
        context.callbacks.on_multirun_start(config=config, config_name="config")
        sweeper = Plugins.instance().instantiate_sweeper(config=config, hydra_context=context, task_function=work)
        sweeper.sweep([word for word in words if not name_of(word).startswith(HYDRAS)])
        context.callbacks.on_multirun_end(config=config, config_name="config")
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(one_line(error)) from error


def sweep(context: HydraContext, config: DictConfig, words: Sequence[str]) -> None:
    """Train the unfinished runs of the grid that the words ask for; UserError names the runs that failed."""
    launcher = config.hydra.launcher
    if launcher.get("n_jobs") == 0:
        raise UserError("hydra.launcher.n_jobs must be a number of processes, or -1 for all cores, got 0")
    root = project_root()
    points = make_grid(words, root, config)
    settings = points[0].settings  # study, force, plan and tracking_uri are the same in all
    study = settings.study
    finished = {} if settings.force else {point: run for point in points if (run := point.run())}
    todo = [point for point in points if point not in finished]
    # short runs first, since longer ones resume from them; then wide ones
    todo.sort(key=lambda point: (point.settings.ITERS, -cost_of(point.settings)))
    at_a_time = processes(launcher) if todo else None
    print(f"study {study}: {table.plan(todo, points, list(finished.values()), at_a_time)}", flush=True)
    if settings.plan:
        return
    up_to_date = not todo and report.current_report(study, root) and has_all(study, settings.tracking_uri, root)
    recording = nullcontext() if up_to_date else following(study, settings.tracking_uri, root)
    with recording, locked(runs_folder(root, study)):
        failures = {}
        if todo:
            imports = threading.Thread(target=importlib.import_module, args=("dognet.sweep.summary",), daemon=True)
            imports.start()  # what the report needs, while the runs are trained: the sweep ends 0.7 s sooner
            with table.progress(todo, points, at_a_time), ignoring_interrupts(launcher):
                failures = launch(context, config, todo)
        conclude(study, root)  # while the last runs are recorded
    if failures:
        raise UserError("\n".join(f"{point.name}: {error}" for point, error in failures.items()))


def processes(launcher: DictConfig) -> int | None:
    """Return how many runs the launcher does at a time; None if the cluster decides that."""
    if "n_jobs" in launcher:
        from joblib import effective_n_jobs

        return int(effective_n_jobs(launcher.n_jobs))
    return 1 if launcher._target_.endswith(".BasicLauncher") else None


def conclude(study: str, root: Path) -> None:
    """Write the study's report, unless it is up to date, and print its answer."""
    try:
        written = report.current_report(study, root) or report.write_report(study, root, replace_complete=False)
        conclusion = report.conclusion(written)
    except (UserError, OSError) as error:  # these runs are not in the study's grid, or all have failed
        conclusion = f"no report: {error}"
    print(conclusion, flush=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder of runs for one sweep; the kernel releases the lock when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        where = os.path.relpath(folder)
        raise UserError(f"another sweep is running in {where}: wait for it to end, or stop it") from None


# --- Hydra's launchers


class JobLoader:
    """Stands in for Hydra's config loader: it gives launchers the settings of a run, which are validated already.

    Launchers call only this one method. Hydra's own loader composes conf/ again for every run: about 40 ms each, a
    twentieth of a sweep over runs of a second.
    """

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """Return the settings of one run, with Hydra's own."""
        (job,) = sweep_overrides
        return OmegaConf.create({"job": job.encode(), "hydra": master_config.hydra})  # bytes: no ${…} is replaced


def launch(context: HydraContext, config: DictConfig, todo: Sequence[PlannedRun]) -> dict[PlannedRun, str]:
    """Run the points with Hydra's launcher and return the errors of those that failed."""
    launcher = Plugins.instance().instantiate_launcher(context, work, config)
    settings = small_config(config, todo[0].settings.study)
    launcher.setup(hydra_context=context, task_function=work, config=settings)
    if hasattr(launcher, "joblib"):  # a worker whose sweep was killed before its first run would wait for ever
        launcher.joblib |= {"initializer": prepare_worker, "initargs": (os.getpid(),)}
        threading.excepthook = error_in_thread
    errors: dict[PlannedRun, str | None] = {}

    def run(points: Sequence[PlannedRun]) -> bool:
        try:
            jobs = launcher.launch([[job_of(point)] for point in points], initial_job_idx=0)
        except BrokenExecutor:  # a worker was killed, and all others with it
            return False
        except TimeoutError as error:  # joblib's own; it gives up the whole sweep
            timeout = config.hydra.launcher.get("timeout")
            raise UserError(f"a run took longer than hydra.launcher.timeout={timeout} s: raise it") from error
        errors.update((point, job.return_value) for point, job in zip(points, jobs, strict=True))
        return True

    at_a_time, left = processes(config.hydra.launcher) or 1, list(todo)
    while left and not run(left):
        left = [point for point in left if not point.ended]
        for point in left[:at_a_time]:  # one of these was killed: run each alone, so that it harms no other
            run([point])
        left = left[at_a_time:]
    killed = "its process was killed, perhaps because memory ran out"
    changed = "its images or dognet's code have changed meanwhile: repeat the command"
    return {
        point: errors.get(point) or (point.failure() or changed if point.ended else killed)
        for point in todo
        if not (point.ended and point.run())  # with force, the old run may still be there
    }


def prepare_worker(parent: int) -> None:
    """Prepare a process of joblib's: it ends with its sweep, and does not look for Hydra's plugins before each run.

    No run needs them. Hydra (1.3.8) would take 0.3 s for that before the first run, and 10 to 20 ms before each other.
    """
    end_with(parent)
    Plugins.instance = staticmethod(lambda: None)  # type: ignore[assignment, method-assign]  # replaced on purpose


def error_in_thread(error: threading.ExceptHookArgs) -> None:
    """Print the error of a thread, except the one that joblib raises when it gives up runs that wait for a worker.

    After a timeout or Ctrl-C, joblib (1.6.0) forgets these runs, kills the workers and then looks for a run to start.
    """
    *_, last = traceback.extract_tb(error.exc_traceback)
    if (error.exc_type, last.name) != (KeyError, "add_call_item_to_queue"):
        threading.__excepthook__(error)


def job_of(point: PlannedRun) -> str:
    """Return a run as text for a launcher: its settings, and the words that led to them."""
    settings = point.settings.model_copy(update={"threads": point.settings.threads or 1})
    words = [*point.fixed, *(f"{name}={value}" for name, value in point.swept.items())]
    return json.dumps({"settings": settings.model_dump(mode="json"), "words": kept(words)})


def small_config(config: DictConfig, study: str) -> DictConfig:
    """Return what a job needs of Hydra's settings: launchers copy them about ten times and send them to workers."""
    hydra = HydraConf(
        mode=RunMode.MULTIRUN,
        output_subdir=None,
        sweep=SweepDir(dir=".", subdir="."),
        job=JobConf(name="dognet", chdir=False),
        hydra_logging={"root": None},
        job_logging={"root": None},
        callbacks=config.hydra.callbacks,
    )
    return OmegaConf.create({"study": study, "hydra": OmegaConf.structured(hydra)})


def work(config: DictConfig) -> str | None:
    """Train one run of a sweep in the process that the launcher chose, and return its error, if any."""
    job: dict[str, Any] = json.loads(config.job)
    try:
        root = project_root()
        check_source(root)
        run_once(Settings.model_validate(job["settings"]), root, overrides=job["words"])
    except Exception as error:  # whatever it is, the other runs go on, and the sweep names it at its end
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def ignoring_interrupts(launcher: DictConfig) -> Iterator[None]:
    """Let workers that are started meanwhile ignore Ctrl-C, which reaches every process of a terminal.

    The sweep ends them. Workers inherit the signals that this thread blocks. This process's other threads still receive
    Ctrl-C, and Python handles it in this one.
    """
    if "n_jobs" in launcher:
        from joblib.externals.loky.backend import resource_tracker as loky_tracker

        for tracker in (resource_tracker, loky_tracker):
            tracker.ensure_running()  # starting these processes later would unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
