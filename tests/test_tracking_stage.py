"""``dvc repro`` ends in MLflow, and what DVC restores points at the run that computed it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from conftest import Run

from dognet.runs.folder import PIPELINE, read_metrics, read_run


def tags(project: Path) -> dict[str, dict[str, str]]:
    """The tags of each run of the experiment ``pipeline``."""
    found: dict[str, dict[str, str]] = {}
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        query = "SELECT run_uuid, key, value FROM tags JOIN runs USING (run_uuid) WHERE status = 'FINISHED'"
        for run_id, key, value in database.execute(query):
            found.setdefault(run_id, {})[key] = value
    return found


def digest(project: Path) -> str:
    """The digest of the pipeline's result."""
    return read_metrics(project / PIPELINE).digest


def use(project: Path, hiddenNodes: int) -> None:
    """Set the hidden nodes, and little work, in conf/."""
    path = project / "conf" / "config.yaml"
    lines = path.read_text().splitlines(keepends=True)
    values = {"hiddenNodes": f"hiddenNodes: {hiddenNodes}\n", "ITERS": "ITERS: 200\n"}
    path.write_text("".join(values.get(line.partition(":")[0], line) for line in lines))


def test_the_pipeline_and_its_run_in_mlflow_are_found_from_both_sides(
    project: Path, run: Run, empty_store: Path
) -> None:
    shutil.copy(empty_store, project / "mlflow.db")
    use(project, 2)
    run("dvc", "repro")
    ((first, recorded),) = tags(project).items()
    assert recorded["digest"] == digest(project)
    assert recorded["git_commit"] == run("git", "rev-parse", "HEAD").stdout.strip()
    assert recorded["mlflow.source.name"] == "dvc repro"
    use(project, 3)
    run("dvc", "repro")
    assert len(tags(project)) == 2

    use(project, 2)  # DVC restores the stages, and track finds the run that computed them
    answer = run("dvc", "repro")
    assert "Stage 'train' is cached" in answer.stdout
    assert f"recorded in MLflow as run {first}" in answer.stdout
    assert len(tags(project)) == 2
    assert (project / "experiments" / "pipeline" / "tracked").read_text().strip() == digest(project)

    (project / "mlflow.db").unlink()  # the store has lost it: it is recorded again, and nothing is trained
    shutil.copy(empty_store, project / "mlflow.db")
    answer = run("dvc", "repro", "--force", "--single-item", "track")
    assert "dognet.stages.train" not in answer.stdout
    ((again, recorded),) = tags(project).items()
    assert (again != first, recorded["digest"]) == (True, digest(project))
    assert {"train_sha256", "test_sha256", "trajectory"} <= set(recorded)

    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message=small")
    run("dvc", "exp", "run", "--temp", "--name", "wide", "-S", "conf/config.yaml:hiddenNodes=5", cwd=project)
    (of_experiment,) = (each for each in tags(project).values() if each.get("dvc_experiment") == "wide")
    assert of_experiment["dvc_revision"] == run("git", "rev-parse", "HEAD").stdout.strip()
    assert len(tags(project)) == 2


def test_the_stage_fails_with_a_line_where_the_store_does(project: Path, run: Run) -> None:
    use(project, 2)
    answer = run("dvc", "repro", check=False, MLFLOW_TRACKING_URI="http://me:opensesame@127.0.0.1:9")
    assert answer.returncode
    assert "track: http://127.0.0.1:9: no answer\n" in answer.stderr
    assert not (project / "experiments" / "pipeline" / "tracked").exists()
    answer = run("dvc", "repro", MLFLOW_TRACKING_URI="none")
    assert "tracking_uri is none: nothing is recorded" in answer.stdout
    (project / "experiments" / "pipeline" / "run.json").unlink()  # as after `git clone` and `dvc pull`
    run("dvc", "repro", "--force", "--single-item", "track", MLFLOW_TRACKING_URI="none")
    assert read_run(project / PIPELINE).manifest.digest == digest(project)
