"""Two commands at once in one project: no corruption, no double record; the second waits or says why not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import Run, environment, make_project, with_forks

from dognet.runs.folder import PIPELINE, ended_runs, read_run, run_folders

pytestmark = pytest.mark.integration

GRID = ("dognet", "--multirun", "hiddenNodes=2,3", "seed=range(3)", "ITERS=1000")
ONE = ("dognet", "hiddenNodes=2", "seed=1", "ITERS=1000")  # of these


def at_once(project: Path, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
    """Start the commands at one moment; return the code and the errors of each."""
    started = [
        subprocess.Popen(
            words,
            cwd=project,
            env=with_forks(environment(project)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for words in commands
    ]
    printed = [process.communicate(timeout=180)[0] for process in started]
    return [(process.returncode, text) for process, text in zip(started, printed, strict=True)]


def recorded(project: Path) -> list[str]:
    """The digests of the runs in MLflow, all of which are whole."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{project}/mlflow.db")
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert {one.info.status for one in found} == {"FINISHED"}
    return sorted(one.data.tags["digest"] for one in found)


def finished(project: Path) -> list[str]:
    """The digests of the finished runs, all of which are whole."""
    return sorted(str(read_run(folder).manifest.digest) for folder in run_folders(project / "experiments"))


def test_of_two_sweeps_the_second_says_why_not_and_no_run_is_there_twice(project: Path, run: Run) -> None:
    results = at_once(project, GRID, GRID)
    assert sorted(code for code, _ in results) == [0, 1]
    printed = next(text for code, text in results if code)
    assert "another sweep is running in experiments/adhoc/runs: wait for it to end, or stop it" in printed
    assert "Traceback" not in printed
    assert len(finished(project)) == 6
    assert recorded(project) == finished(project)
    assert "6 runs, 6 finished, 0 to do" in run(*GRID).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "others",
    [
        (("dognet", "report", "adhoc"), ("dognet", "report", "adhoc")),
        (("dognet", "sync"), ("dognet", "sync")),
        (ONE, ONE),
        (("dvc", "repro"),),
    ],
    ids=["reports", "recordings", "the same run", "dvc repro"],
)
def test_a_sweep_and_other_commands_leave_each_run_whole_and_recorded_once(
    project: Path, run: Run, others: tuple[tuple[str, ...], ...]
) -> None:
    run("dognet", "seed=0", "hiddenNodes=2", "ITERS=10")  # or there is nothing to report yet
    results = at_once(project, GRID, *others)
    assert [code for code, _ in results] == [0] * len(results), results
    assert not [text for _, text in results if "Traceback" in text]
    run("dognet", "sync")
    assert recorded(project) == finished(project)
    assert len(finished(project)) == 7 + (others[0][0] == "dvc")
    report = (project / "experiments" / "adhoc" / "report.md").read_bytes()
    run("dognet", "report", "adhoc")
    assert (project / "experiments" / "adhoc" / "report.md").read_bytes() == report


@pytest.mark.slow
def test_of_two_dvc_repros_the_second_waits_or_says_why_not(project: Path, run: Run) -> None:
    results = at_once(project, ("dvc", "repro"), ("dvc", "repro"))
    assert 0 in [code for code, _ in results]
    assert all(code == 0 or "lock" in text for code, text in results), results
    assert "up to date" in run("dvc", "repro").stdout
    assert read_run(project / PIPELINE).figures.test_accuracy == 1
    assert recorded(project) == finished(project)


def test_runs_that_write_one_folder_at_once_leave_a_whole_one_or_say_that_they_failed(tmp_path: Path) -> None:
    make_project(tmp_path)
    one = ("dognet", "ITERS=300", "data.train_rows=200", "tracking_uri=none")
    for _ in range(2):
        results = at_once(tmp_path, *[(*one, "force=true")] * 4)
        assert not [text for _, text in results if "Traceback" in text], results
        for run in ended_runs(tmp_path / "experiments"):
            assert run.finished or 1 in [code for code, _ in results]
        assert at_once(tmp_path, one)[0][0] == 0
        (run,) = ended_runs(tmp_path / "experiments")
        assert run.finished
        assert not list(run.folder.glob("*.part"))
