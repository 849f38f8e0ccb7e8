"""Users as containers and groups have them: without a name or a home, in a folder that belongs to somebody else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, make_project, run_in

NOBODY = ("unshare", "--user", "--map-user=12345", "--map-group=12345")  # a user without an entry in passwd
OTHER = 54321


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    if os.getuid() or subprocess.run([*NOBODY, "true"], capture_output=True).returncode:
        pytest.skip("needs root, and the right to make a namespace for users")


@pytest.fixture
def nobody(project: Path) -> Iterator[Run]:
    """Runs a command in ``project`` as a user without name and home."""

    def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        unset = [f"--unset={name}" for name in ("HOME", "USER", "LOGNAME", "USERNAME")]
        words = (*NOBODY, "env", *unset, *words)
        return run_in(project)(*words, check=check, PYTHONPATH=str(project / "src"))  # no fork: that would be root's

    yield run
    give(project, os.getuid())


def give(folder: Path, user: int, *, group_writes: bool = True) -> None:
    """Give a folder and all in it to a user; the group is that of the one without a name."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, os.getgid(), follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o020 if group_writes else path.stat().st_mode & ~0o022)


@pytest.mark.slow
def test_a_user_without_name_and_home_trains_records_and_looks(nobody: Run) -> None:
    for words in (("dognet", "ITERS=10"), ("dognet", "--multirun", "seed=1,2", "ITERS=10")):
        assert nobody(*words).stderr == ""
    assert nobody("dognet", "sync").stdout == "0 recorded, 3 were already there\n"
    assert "activations.svg" in nobody("dognet", "plot", "adhoc").stdout
    assert nobody("env", "HOME=/", "dognet", "ITERS=11").stderr == ""  # as Docker says of such a user


def test_the_commit_is_known_in_a_project_of_another_user(project: Path, nobody: Run) -> None:
    head = run_in(project)("git", "rev-parse", "HEAD").stdout.strip()
    give(project, OTHER)
    assert "dubious ownership" in nobody("git", "status", check=False).stderr
    nobody("dognet", "ITERS=10", "tracking_uri=none")
    (file,) = project.glob("experiments/adhoc/runs/*/run.json")
    assert json.loads(file.read_text())["provenance"]["git_commit"] == head


def test_members_of_a_group_share_a_project_and_its_store(project: Path, run: Run, nobody: Run) -> None:
    run("dognet", "--multirun", "seed=1,2", "ITERS=10", "hydra/launcher=basic")
    give(project, OTHER)
    answer = nobody("dognet", "--multirun", "seed=1,2,3", "ITERS=10", "hydra/launcher=basic")
    assert answer.stdout.startswith("study adhoc: 3 runs, 2 finished, 1 to do")
    assert answer.stderr == ""
    assert nobody("dognet", "sync").stdout == "0 recorded, 3 were already there\n"


def test_images_and_a_store_that_may_only_be_read(project: Path, run: Run, nobody: Run) -> None:
    run("dognet", "ITERS=10", "tracking_uri=none")
    give(project, OTHER)
    give(project / "data", OTHER, group_writes=False)
    os.chown(project / "mlflow.db", OTHER, OTHER)
    (project / "mlflow.db").chmod(0o644)
    answer = nobody("dognet", "ITERS=11")
    store = f"sqlite:///{project}/mlflow.db"
    line = f"1 run is not recorded in MLflow ({store}: you may only read this file): `dognet sync` records it"
    assert answer.stderr == f"dognet: {line}\n"
    answer = nobody("dognet", "ITERS=11", "data.train_rows=20", "tracking_uri=none", check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("dognet: [Errno 13] Permission denied: ")
    assert answer.stderr.count("\n") == 1


def test_a_project_without_git_has_no_commit(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    shutil.rmtree(root / ".git", ignore_errors=True)
    run_in(root)("dognet", "ITERS=10", "tracking_uri=none", GIT_CEILING_DIRECTORIES=str(tmp_path))
    (file,) = root.glob("experiments/adhoc/runs/*/run.json")
    assert json.loads(file.read_text())["provenance"]["git_commit"] is None
