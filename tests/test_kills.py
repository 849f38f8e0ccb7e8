"""Signals at random moments of a training and of `dvc repro`: nothing half done counts, the same command goes on.

Sweeps are killed in test_sweep.py, recordings in test_tracking.py.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import environment, run_in

from dognet.runs.folder import FILES, ended_runs

pytestmark = pytest.mark.soak

ROUNDS = 15 if os.environ.get("DOGNET_SOAK") else 2
TRAINING = "dognet", "ITERS=3000", "force=true"
REPRO = "dvc", "repro", "--force"


def results(project: Path) -> dict[str, list[bytes]]:
    """The files of every run that counts as finished."""
    found = [run.folder for run in ended_runs(project / "experiments") if run.finished]
    return {os.path.relpath(folder, project): [(folder / name).read_bytes() for name in FILES] for folder in found}


def mend_locks(project: Path) -> None:
    """Do what docs/reliability.md says where DVC was ended while it wrote a file of its own in place."""
    try:
        assert "stages" in yaml.safe_load((project / "dvc.lock").read_text())
    except (AssertionError, TypeError, yaml.YAMLError):
        run_in(project)("git", "checkout", "dvc.lock")
    lock = project / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(lock.read_text() if lock.exists() else "{}")
    except ValueError:
        lock.unlink()


def recorded(project: Path) -> Counter[tuple[str, str, str]]:
    """What MLflow holds: experiment, digest and status of each run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiments = {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}
    found = client.search_runs(list(experiments))
    return Counter((experiments[run.info.experiment_id], run.data.tags["digest"], run.info.status) for run in found)


@pytest.mark.soak
@pytest.mark.parametrize("words", [TRAINING, REPRO], ids=["dognet", "dvc repro"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_is_ended_at_any_moment_leaves_nothing_half_done_and_goes_on(
    project: Path, how: signal.Signals, words: tuple[str, ...]
) -> None:
    run = run_in(project)
    run(*words)
    whole, known = results(project), recorded(project)
    assert {status for _, _, status in known} == {"FINISHED"}
    begin = time.monotonic()
    run(*words)
    usual = time.monotonic() - begin
    dice = random.Random(f"{how} {words}")
    log, ended = project.parent / "log", 0
    while ended < ROUNDS:
        for folder in whole:
            shutil.rmtree(project / folder, ignore_errors=True)
        with log.open("w") as file:  # not a pipe: that would wait for a stage that outlives its dvc
            process = subprocess.Popen(
                words, cwd=project, env=environment(project), stdout=file, stderr=file, start_new_session=True
            )
        time.sleep(dice.uniform(0.2, 2 * usual))  # a fork, which is faster than what is killed here
        if process.poll() is None:
            ended += 1
            (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)  # Ctrl-C reaches the group
        process.wait(60)
        assert "in main\n" not in log.read_text()  # no traceback through a command of ours; Python's start is not ours
        assert results(project).items() <= whole.items()
        mend_locks(project)
    run(*words)
    assert results(project) == whole
    assert recorded(project) == known
