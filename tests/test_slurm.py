"""A sweep on a real SLURM cluster of one node, which runs on this machine and listens on the loopback only."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import REPOSITORY, environment, wait_until

from dognet.runs.folder import ended_runs
from dognet.runs.run import Manifest

pytestmark = pytest.mark.slow

pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[slurm]'")

PAGE = (REPOSITORY / "docs" / "how-to" / "slurm.md").read_text()
INSTALL, SWEEP = re.findall(r"```sh\n(.*?)\n```", PAGE, flags=re.DOTALL)

CONFIGURATION = """\
ClusterName=dognet
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node.pid
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=ALL Default=YES State=UP
KillWait=120
"""


def free_ports(number: int) -> list[int]:
    """Ports of the loopback that nothing listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def daemon(*words: str, log: Path, **more: str) -> Iterator[None]:
    """Run a program until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env=os.environ | more, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands find the cluster."""
    programs = [shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("munged", "slurmctld", "slurmd", "sbatch")]
    if os.getuid() or None in programs:
        pytest.skip("SLURM starts as root only, with Debian's packages slurm-wlm and munge")
    folder = tmp_path_factory.mktemp("slurm")
    for name in "munge", "controller", "node":
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(host=host, ports=free_ports(2), folder=folder))
    there = {"SLURM_CONF": str(configuration)}
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder / 'munge' / name}" for option, name in files.items()]

    def ready() -> bool:
        words = ["sinfo", "--noheader", "--format=%t"]
        return subprocess.run(words, env=os.environ | there, capture_output=True).stdout == b"idle\n"

    with ExitStack() as stack:
        stack.enter_context(daemon("munged", "--foreground", "--force", *munge, log=folder / "munged.log"))
        wait_until((folder / "munge" / "socket").exists)
        for name in "slurmctld", "slurmd":
            stack.enter_context(daemon(name, "-D", log=folder / f"{name}.log", **there))
        wait_until(ready)
        yield there


def jobs(cluster: dict[str, str], *options: str) -> list[str]:
    """The ids of the cluster's jobs."""
    words = ["squeue", "--array", "--noheader", "--format=%i", *options]
    return subprocess.run(words, env=os.environ | cluster, capture_output=True, text=True).stdout.split()


class Sweep:
    """The command of a sweep that runs in the background, and what it prints."""

    def __init__(self, command: str, project: Path, cluster: dict[str, str]):
        self.log, self.cluster = project.parent / "sweep.log", cluster
        with self.log.open("wb") as log:
            words = {"cwd": project, "env": environment(project) | cluster, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(shlex.split(command), start_new_session=True, **words)

    def wait(self, seconds: float = 240) -> int:
        return self.process.wait(seconds)

    def output(self) -> str:
        return self.log.read_text()

    def end(self) -> None:
        """Kill the sweep, and the jobs that it leaves."""
        self.process.kill()
        self.process.wait()
        if "SLURM_CONF" in self.cluster:
            for options in (["--state=PENDING"], ["--signal=KILL", "--full"]):
                subprocess.run(["scancel", "--partition=all", *options], env=os.environ | self.cluster)
            wait_until(lambda: not jobs(self.cluster))


Start = Callable[..., Sweep]


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Starts a sweep in ``project``."""
    with ExitStack() as stack:

        def start(command: str, cluster: dict[str, str]) -> Sweep:
            sweep = Sweep(command, project, cluster)
            stack.callback(sweep.end)
            return sweep

        yield start


def finished(project: Path) -> dict[str, Manifest]:
    """What run.json says of each finished run."""
    folder = project / "experiments" / "adhoc" / "runs"
    return {run.folder.name: run.manifest for run in ended_runs(folder) if run.finished}


@pytest.fixture
def project(clone: Path, tmp_path: Path) -> Path:
    """A project in a folder with a space and an umlaut in its name."""
    return Path(shutil.copytree(clone, tmp_path / "ein schönes project"))


def test_the_page_s_sweep_runs_on_the_cluster_and_is_recorded(
    cluster: dict[str, str], project: Path, start: Start
) -> None:
    from mlflow import MlflowClient

    (project / "submitit.py").write_text("raise SystemExit('not the submitit that is installed')\n")
    sweep = start(f"{SWEEP} ITERS=500", cluster)
    assert sweep.wait() == 0, sweep.output()
    assert "submitit" not in sweep.output()
    whole = finished(project)
    assert len(whole) == 6
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("adhoc")
    assert experiment is not None
    recorded = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in recorded} == {"FINISHED"}
    assert sorted(run.data.tags["digest"] for run in recorded) == sorted(
        str(manifest.digest) for manifest in whole.values()
    )
    words = ["git", "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(words, cwd=project, capture_output=True, text=True).stdout == "?? submitit.py\n"
    assert not (project / ".submitit").exists()
    assert not jobs(cluster)


def test_a_sweep_that_is_ended_cancels_its_jobs_and_resumes(
    cluster: dict[str, str], project: Path, start: Start
) -> None:
    command = "dognet --multirun hydra/launcher=slurm seed=range(9) ITERS=10000 tracking_uri=none"
    before: dict[str, dict[str, object]] = {}
    for how, code in (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL):
        sweep, done = start(command, cluster), len(before)
        wait_until(lambda: sweep.process.poll() is not None or len(finished(project)) > done, 120)  # noqa: B023 - called at once
        assert sweep.process.poll() is None, sweep.output()
        os.killpg(sweep.process.pid, how)
        assert sweep.wait(60) == code, sweep.output()
        assert bool(jobs(cluster)) == (how == signal.SIGKILL)
        before = finished(project)
    sweep = start(command, cluster)
    assert sweep.wait(100) == 0, sweep.output()  # SLURM alone would take KillWait to end the jobs that were left
    resumed = re.search(r"9 runs, (\d) finished, (\d) to do", sweep.output())
    assert resumed
    assert int(resumed[1]) >= len(before)  # a job that was left may have finished another
    assert int(resumed[2]) > 0
    after = finished(project)
    assert len(after) == 9
    assert before.items() <= after.items()


def test_a_job_that_slurm_ends_costs_its_run_only(cluster: dict[str, str], project: Path, start: Start) -> None:
    command = "dognet --multirun hydra/launcher=slurm seed=range(3) ITERS=10000 tracking_uri=none"
    sweep = start(command, cluster)
    wait_until(lambda: len(jobs(cluster, "--states=RUNNING")) >= 2)
    lost = jobs(cluster, "--states=RUNNING")[0]
    subprocess.run(["scancel", "--signal=KILL", "--full", lost], env=os.environ | cluster)
    assert sweep.wait() == 1, sweep.output()
    last = sweep.output().splitlines()[-1]
    assert re.fullmatch(r"dognet: seed=\d: SLURM ended its job .* repeat the command", last)
    assert len(finished(project)) == 2
    again = start(command, cluster)
    assert again.wait() == 0, again.output()
    assert len(finished(project)) == 3


@pytest.mark.parametrize("option", ["partition=nowhere", "mem_gb=4000000"])
def test_jobs_that_the_cluster_refuses_end_the_sweep_in_a_line(
    cluster: dict[str, str], project: Path, start: Start, option: str
) -> None:
    sweep = start(f"dognet --multirun hydra/launcher=slurm hydra.launcher.{option} seed=1,2", cluster)
    assert sweep.wait() == 1
    assert sweep.output().splitlines()[-1].startswith("dognet: hydra/launcher=slurm: sbatch: error: ")
    assert "Traceback" not in sweep.output()


def test_without_slurm_the_sweep_says_what_is_missing(project: Path, start: Start) -> None:
    path = str(Path(shutil.which("python", path=environment(project)["PATH"]) or "").parent)
    sweep = start(f"{path}/dognet --multirun hydra/launcher=slurm seed=1,2", {"PATH": path})
    assert sweep.wait() == 1
    assert sweep.output().splitlines()[-1].startswith("dognet: hydra/launcher=slurm needs the command sbatch")
