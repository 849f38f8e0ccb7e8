"""The launcher ``cluster``: the runs of a sweep on the nodes of a Ray cluster, made as docs/cluster.md says.

Hydra imports it whenever it looks for plugins, also in other projects: the rest is imported when it is used.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

QUICK = {  # for Ray, before it is imported: a cluster that isn't there is given up after 16 s, not after 14 minutes
    "RAY_gcs_server_port_wait_time_s": "1",  # tries
    "RAY_py_gcs_connect_timeout_s": "5",
}


class ClusterLauncher(Launcher):
    """Trains as many runs at a time as the cluster has cores; the runs of a node that fails are trained on another."""

    def __init__(self, address: str):
        self.address = address

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what Hydra passes."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train the runs; return for each what the task returned, or the error that prevented it."""
        from dognet.project import project_root

        loader, root = self.context.config_loader, project_root().resolve()
        with cluster(self.address, root) as ray:
            run = ray.remote(on_node)
            settings = [loader.load_sweep_config(self.config, list(overrides)) for overrides in job_overrides]
            jobs = [run.remote(self.task, one, root) for one in settings]
            return [JobReturn(_return_value=outcome(job), status=JobStatus.COMPLETED) for job in jobs]


@contextmanager
def cluster(address: str, root: Path) -> Iterator[Any]:
    """Join the cluster; when this process leaves it, Ray ends what still runs, even after `kill -9`."""
    from dognet.errors import UserError
    from dognet.project import python_path

    for name, value in QUICK.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UserError("hydra/launcher=cluster needs Ray: pip install 'dognet[cluster]'") from None

    ours = signal.getsignal(signal.SIGTERM)
    variables = {"env_vars": {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": python_path(root)}}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=variables)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        why = str(error).strip().splitlines()[0].partition(". ")[0]
        raise UserError(f"hydra/launcher=cluster: {why} (docs/cluster.md)") from error
    signal.signal(signal.SIGTERM, ours)  # Ray puts its own in place, which ends with another exit code
    try:
        yield ray
    finally:
        ray.shutdown()


def on_node(task: TaskFunction, settings: DictConfig, root: Path) -> Any:
    """Train a run in a process on a node; return its error, if any."""
    if not root.is_dir():
        return f"{platform.node()} does not see {root}: every node needs the project's folder, at the same path"
    os.chdir(root)
    return task(settings)


def outcome(job: Any) -> Any:
    """Wait for a run and return what its task returned; an error says why it returned nothing."""
    from ray.exceptions import RayError

    try:
        return job.future().result()  # ray.get(job) would turn SIGTERM's exit into an error of its own
    except RayError as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
