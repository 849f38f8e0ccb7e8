"""What several tests need: the lecture's files where they are, and a project of their own to run commands in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def lecture() -> Path:
    """The folder of the course's CSVs and expected_runs.json, which the project may not contain."""
    folder = os.environ.get("DOGNET_LECTURE_DATA")
    if not folder:
        pytest.skip("DOGNET_LECTURE_DATA does not name the folder of the course's CSVs")
    return Path(folder).resolve()


def environment(project: Path) -> dict[str, str]:
    """The environment of a shell in which ``project`` is installed."""
    values = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "HYDRA_"))}
    values["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{values['PATH']}"
    values["PYTHONPATH"] = str(project / "src")
    values["GIT_CONFIG_COUNT"] = "2"
    values |= {"GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Dog"}
    values |= {"GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "dog@example.com"}
    return values


def run_in(project: Path) -> Run:
    """Return a function that runs a command in ``project`` and hands back its output."""

    def run(*words: str, check: bool = True, cwd: Path = project, **more: str) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            words, cwd=cwd, env=environment(project) | more, capture_output=True, text=True, timeout=300
        )
        if check and answer.returncode:
            raise AssertionError(f"{words} ended with {answer.returncode}:\n{answer.stdout}\n{answer.stderr}")
        return answer

    return run


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the repository, what is not committed yet included, in which nothing has run."""
    folder = tmp_path_factory.mktemp("a clone") / "dögnet"  # a space and an umlaut on the way there
    folder.mkdir()
    run = run_in(folder)
    listing = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY).stdout
    for name in filter(None, listing.split("\0")):
        if (REPOSITORY / name).is_file():  # not one that is deleted, and not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message=clone")
    return folder


@pytest.fixture
def project(clone: Path, tmp_path: Path) -> Path:
    """A project of the test's own."""
    return Path(shutil.copytree(clone, tmp_path / "project"))


@pytest.fixture
def run(project: Path) -> Run:
    """Runs a command in ``project``."""
    return run_in(project)
