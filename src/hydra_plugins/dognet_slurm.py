"""The launcher ``slurm``: the runs of a sweep as jobs of a SLURM cluster, see docs/how-to/slurm.md.

Hydra imports it whenever it looks for plugins, also in other projects: the rest is imported when it is used.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SlurmLauncher(Launcher):
    """Hydra's own SLURM launcher, with jobs that end with their sweep and files that are beside the study's runs."""

    def __init__(self, **params: Any):
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Set up Hydra's launcher with this study's folder and job name; UserError where SLURM is missing."""
        from dognet.errors import UserError
        from dognet.project import project_root
        from dognet.runs.folder import runs_folder

        try:
            from hydra_plugins.hydra_submitit_launcher import submitit_launcher
        except ImportError:
            raise UserError("hydra/launcher=slurm needs submitit: pip install 'dognet[slurm]'") from None
        if not shutil.which("sbatch"):
            raise UserError("hydra/launcher=slurm needs the command sbatch: run dognet on a machine of the cluster")
        runs = runs_folder(project_root().resolve(), config.study)
        self.folder = runs / ".submitit"
        self.name = f"dognet-{hashlib.sha256(bytes(runs)).hexdigest()[:8]}"
        own = {"submitit_folder": str(self.folder / "%j"), "name": self.name}
        self.submitit = submitit_launcher.SlurmLauncher(**self.params, **own)
        self.submitit.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the runs as jobs and wait for them; UserError if SLURM refuses them."""
        from submitit.core.utils import UncompletedJobError
        from submitit.slurm.slurm import SlurmJob

        from dognet.errors import UserError

        cancel(self.name)  # the jobs of a sweep that was killed: only one sweep of a study runs at a time
        shutil.rmtree(self.folder, ignore_errors=True)
        SlurmJob.watcher = queue_watcher()
        try:
            return list(self.submitit.launch(job_overrides, initial_job_idx))
        except UncompletedJobError as error:
            if isinstance(error.__cause__, subprocess.CalledProcessError):
                raise UserError(f"hydra/launcher=slurm: {str(error).strip().splitlines()[-1]}") from error
            wait(self.name)  # one job was killed, the others go on
            lost = f"SLURM ended its job (time or memory limit?), see {self.folder}: repeat the command"
            return [JobReturn(_return_value=lost, status=JobStatus.COMPLETED) for _ in job_overrides]
        finally:
            cancel(self.name)


def cancel(name: str) -> None:
    """Cancel the jobs of this name and wait for their end.

    Submitit's jobs ignore the SIGTERM that cancels them, and SLURM then waits half a minute: SIGHUP ends them at once.
    """
    for how in (["--state=PENDING"], ["--signal=HUP", "--full"], []):
        subprocess.run(["scancel", f"--name={name}", *how], capture_output=True)
    wait(name)


def wait(name: str) -> None:
    """Wait until SLURM has no job of this name."""
    while subprocess.run(["squeue", "--noheader", f"--name={name}"], capture_output=True).stdout.strip():
        time.sleep(0.2)  # SLURM notifies nobody when a queue is empty


def queue_watcher() -> Any:
    """Return a watcher that asks ``squeue`` for the jobs: submitit's own asks ``sacct``, which needs a database."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    class QueueWatcher(SlurmInfoWatcher):
        def _make_command(self) -> list[str] | None:
            jobs = {job.partition("_")[0] for job in self._registered - self._finished}
            words = ["squeue", "--array", "--states=all", "--noheader", "--format=%i|%T|%N"]
            return [*words, f"--jobs={','.join(sorted(jobs))}"] if jobs else None

        def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
            text = string if isinstance(string, str) else string.decode()
            return super().read_info(f"JobID|State|NodeList\n{text}")

    return QueueWatcher(delay_s=20)
