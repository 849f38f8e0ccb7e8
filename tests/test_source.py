"""The code that runs is the project's own, which DVC hashes and Git commits, whatever dognet is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run, edit, environment, wait_until

from dognet.errors import UserError
from dognet.project import check_source


def installed(source: Path, folder: Path, *, editable: bool) -> dict[str, str]:
    """Make an environment in ``folder`` where dognet is installed from ``source``; return that of a shell in it."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    if editable:
        (packages / "a dognet.pth").write_text(f"{source}\n")
    else:
        for name in ("dognet", "hydra_plugins"):
            shutil.copytree(source / name, packages / name)
    others = [path for path in sys.path if path.endswith("-packages")]
    (packages / "others.pth").write_text("\n".join(others))
    command = folder / "bin" / "dognet"
    command.write_text(f"#!{folder}/bin/python\nfrom dognet.cli import main\nmain()\n")
    command.chmod(0o755)
    shell = environment(REPOSITORY)
    del shell["PYTHONPATH"]
    return shell | {"PATH": f"{folder}/bin{os.pathsep}{shell['PATH']}", "MLFLOW_TRACKING_URI": "none"}


def run_with(shell: dict[str, str], folder: Path) -> Run:
    """Return a function that runs a command in ``folder`` with this environment."""

    def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(words, cwd=folder, env=shell, capture_output=True, text=True, timeout=300)
        assert not check or answer.returncode == 0, answer.stdout + answer.stderr
        return answer

    return run


@pytest.fixture
def short(project: Path, run: Run) -> Path:
    """A project whose runs are short, all of it committed."""
    edit(project / "conf" / "config.yaml", "ITERS: 10000", "ITERS: 40")
    run("git", "commit", "--quiet", "--all", "--message=short")
    return project


def double_the_rate(project: Path) -> None:
    """Change the code so that stepSize=0.3 gives the result that 0.6 has given."""
    edit(
        project / "src" / "dognet" / "network" / "methods" / "gradient_descent.py", "stepSize * dW", "2 * stepSize * dW"
    )


def train_loss(run: Run, *words: str) -> float:
    """Do one run with dognet and return its figure."""
    folder = run("dognet", *words).stdout.splitlines()[-1].partition(", ")[0]
    return figure(run("cat", f"{folder}/metrics.json").stdout)


def figure(text: str) -> float:
    """Return the train loss in a metrics.json."""
    return float(json.loads(text)["train_loss"])


@pytest.mark.slow
def test_a_queued_experiment_has_the_result_of_its_own_code(short: Path, tmp_path: Path) -> None:
    run = run_with(installed(short / "src", tmp_path / "venv", editable=True), short)
    expected, usual = train_loss(run, "stepSize=0.6"), train_loss(run)
    assert expected != usual
    double_the_rate(short)
    run("dvc", "exp", "run", "--queue", "--name", "twice")
    run("git", "restore", "src")
    run("dvc", "queue", "start")

    def experiment() -> str:
        return run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/twice").stdout.strip()

    wait_until(lambda: bool(experiment()), 180)
    assert figure(run("git", "show", f"{experiment()}:experiments/pipeline/metrics.json").stdout) == expected
    double_the_rate(short)  # the same edit again: DVC has its result
    run("dvc", "repro")
    assert figure((short / "experiments" / "pipeline" / "metrics.json").read_text()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("editable", [True, False], ids=["another checkout", "a wheel"])
def test_a_worktree_runs_its_own_code_whatever_is_installed(short: Path, tmp_path: Path, editable: bool) -> None:
    tree = tmp_path / "tree"
    shell = installed(short / "src", tmp_path / "venv", editable=editable)
    expected = train_loss(run_with(shell, short), "stepSize=0.6")
    run_with(shell, short)("git", "worktree", "add", "--quiet", str(tree))
    run = run_with(shell, tree)
    double_the_rate(tree)
    run("dvc", "repro", "--force", "evaluate")
    assert figure((tree / "experiments" / "pipeline" / "metrics.json").read_text()) == expected
    assert train_loss(run) == expected
    run("dognet", "--multirun", "seed=123,1", "study=swept")
    (folder,) = tree.glob("experiments/swept/runs/*seed=123")
    assert figure((folder / "metrics.json").read_text()) == expected


def test_a_stage_started_on_another_checkouts_code_says_so_in_one_line(project: Path, tmp_path: Path) -> None:
    shell = installed(REPOSITORY / "src", tmp_path / "venv", editable=True)
    answer = run_with(shell, project)("python", "-m", "dognet.stages.train", check=False)
    source = project.resolve() / "src"
    assert answer.stderr == f"train: the code that runs is not {source}/dognet: set PYTHONPATH to {source}\n"
    assert answer.returncode == 1
    with pytest.raises(UserError, match="the code that runs is not"):  # as the workers of a sweep do
        check_source(project)


def test_a_file_in_the_projects_root_named_as_a_library_disturbs_no_command(short: Path, run: Run) -> None:
    for name in ("random", "mlflow", "numpy", "socket", "pickle"):
        (short / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    fresh = {"MLFLOW_TRACKING_URI": "none", "PYTHONPATH": str(short / "src")}  # no forks, which have the libraries
    run("dvc", "repro", **fresh)
    run("dognet", **fresh)
    assert run("dognet", "--multirun", "seed=1,2", "study=two", **fresh).stderr == ""  # with the workers of joblib
