"""A sweep on a Ray cluster of two nodes on this machine, set up by the commands of docs/cluster.md.

Not by its installation, which these tests need, nor by its `ray stop`, which would end other people's nodes too.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, environment, loopback_alone

from dognet.runs.folder import ended_runs
from dognet.runs.run import Run

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason="Ray isn't installed: pip install '.[cluster]'")


@pytest.fixture(scope="module", autouse=True)
def network_of_its_own() -> Iterator[None]:
    """Ray listens on all interfaces whatever it is told: give it a network that has the loopback alone."""
    with loopback_alone() as alone:
        if not alone:
            pytest.skip("no right to make a network of its own, and Ray listens on all interfaces")
        yield


PAGE = (REPOSITORY / "docs" / "cluster.md").read_text()
INSTALL, TOKEN, SHELL, START, JOIN, SERVER, SWEEP, STOP = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)


def free_port() -> int:
    """A port that nothing listens at, below those that Ray gives its workers."""
    for port in range(6400 + os.getpid() % 1000, 10000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError


class Machine:
    """A terminal of one machine; what is started in it, and in turn by that, is known by the machine's name."""

    def __init__(self, name: str, project: Path, home: Path, ports: dict[str, int]):
        self.name, self.project, self.home, self.ports = name, project, home, ports
        self.started: list[subprocess.Popen[bytes]] = []
        self.environment = environment(project) | {"HOME": str(home), "DOGNET_TEST_MACHINE": f"{home} {name}"}

    def script(self, *blocks: str) -> list[str]:
        """The page's commands, with ports of the test's own; the virtual environment is on PATH already."""
        text = "\n".join(blocks).replace("source .venv/bin/activate\n", "")
        for page, own in self.ports.items():
            text = text.replace(page, str(own))
        return ["bash", "-euc", text]

    def start(self, *blocks: str) -> subprocess.Popen[bytes]:
        self.log = self.home / f"{self.name} {len(self.started)}.log"
        with self.log.open("wb") as log:  # Ray's processes keep it open, as they would a terminal
            words = {"cwd": self.project, "env": self.environment, "stdout": log, "stderr": log}
            self.started.append(subprocess.Popen(self.script(*blocks), start_new_session=True, **words))
        return self.started[-1]

    def run(self, *blocks: str) -> str:
        code = self.start(*blocks).wait(120)
        assert code == 0, self.log.read_text()
        return self.log.read_text()

    def processes(self, name: str = "") -> list[int]:
        """The processes of this machine whose command begins like this."""
        found, mark = [], f"\0DOGNET_TEST_MACHINE={self.environment['DOGNET_TEST_MACHINE']}\0"
        for path in Path("/proc").glob("[0-9]*"):
            try:
                ours = mark in (path / "environ").read_text()
                if ours and (path / "cmdline").read_text().startswith(name):
                    found.append(int(path.name))
            except (OSError, UnicodeDecodeError):
                continue  # it has ended, or is another's
        return found

    def at_work(self) -> list[int]:
        """The processes that do a run."""
        return self.processes("ray::on_node")

    def die(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.started:
            process.wait(10)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(project: Path) -> list[Run]:
    return [run for run in ended_runs(project / "experiments" / "adhoc" / "runs") if run.finished]


@pytest.fixture
def machines(project: Path, tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """The head and a node, with a core each."""
    ports = {"6379": free_port(), "5000": 0}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ports["5000"] = probe.getsockname()[1]
    head, node = (Machine(name, project, tmp_path, ports) for name in ("head", "node"))
    try:
        head.run(TOKEN)
        head.run(SHELL, f"{START.strip()} --num-cpus=1")
        node.run(SHELL, f"{JOIN.strip()} --num-cpus=1")
        yield head, node
    finally:
        node.die()
        head.die()


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=1).status == 200)
    except OSError:
        return False


def test_a_sweep_over_two_nodes_loses_nothing_when_one_is_killed(
    machines: tuple[Machine, Machine], project: Path
) -> None:
    from mlflow import MlflowClient

    head, node = machines
    server = f"http://127.0.0.1:{head.ports['5000']}"
    head.start(SHELL, SERVER)
    wait_for(lambda: answers(f"{server}/health"))
    sweeping = head.start(SHELL, SWEEP)
    wait_for(lambda: sweeping.poll() or (head.at_work() and node.at_work() and len(finished(project)) >= 2))
    assert sweeping.poll() is None, head.log.read_text()
    with_one = "\0OPENBLAS_NUM_THREADS=1\0"
    wait_for(lambda: any(with_one in Path(f"/proc/{process}/environ").read_text() for process in node.at_work()))
    node.die()
    assert sweeping.wait(240) == 0, head.log.read_text()
    whole = finished(project)  # read() has checked every file against its sha256
    assert len(whole) == 12
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("adhoc")
    assert experiment is not None
    recorded = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in recorded} == {"FINISHED"}
    assert sorted(run.data.tags["digest"] for run in recorded) == sorted(run.manifest.digest for run in whole)


def test_a_sweep_that_is_ended_leaves_no_process_at_work_and_goes_on(
    machines: tuple[Machine, Machine], project: Path
) -> None:
    head, node = machines
    command = f"export RAY_ADDRESS=$HEAD:6379; exec {SWEEP.splitlines()[-1]} tracking_uri=none"
    before: dict[str, dict[str, object]] = {}

    def well_on_its_way() -> bool:
        assert sweeping.poll() is None, head.log.read_text()
        return bool(head.at_work() and node.at_work() and len(finished(project)) > len(before))

    for how, code in (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL):
        sweeping = head.start(SHELL, command)
        wait_for(well_on_its_way)
        os.killpg(sweeping.pid, how)
        assert sweeping.wait(30) == code, head.log.read_text()
        wait_for(lambda: not head.at_work() and not node.at_work(), 10)
        before = {run.folder.name: run.manifest for run in finished(project)}
    assert f"12 runs, {len(before)} finished, {12 - len(before)} to do" in head.run(SHELL, command)
    after = {run.folder.name: run.manifest for run in finished(project)}
    assert len(after) == 12
    assert before.items() <= after.items()


def test_a_sweep_without_the_cluster_s_token_is_refused_in_one_line(
    machines: tuple[Machine, Machine], project: Path, tmp_path: Path
) -> None:
    stranger = Machine("stranger", project, tmp_path, machines[0].ports)
    stranger.environment["RAY_AUTH_TOKEN"] = "guessed"
    command = f"export RAY_ADDRESS=$HEAD:6379; {SWEEP.splitlines()[-1]} tracking_uri=none"
    assert stranger.start(SHELL, command).wait(60) == 1
    told = stranger.log.read_text().splitlines()
    assert any("Authentication token is missing or incorrect" in line for line in told)
    assert re.fullmatch(r"dognet: hydra/launcher=cluster: Failed to connect to Ray cluster at .*", told[-1])
    assert not finished(project)
