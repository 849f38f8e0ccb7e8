"""`dvc repro` as a newcomer meets it: from a fresh clone, offline, through edits and back."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, Run, run_in

STAGES = ("fetch", "train", "evaluate", "track")


@pytest.fixture(scope="session")
def reproduced(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `dvc repro` has run once."""
    folder = Path(shutil.copytree(clone, tmp_path_factory.mktemp("reproduced") / "project"))
    run_in(folder)("dvc", "repro")
    return folder


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of its own for the test."""
    return Path(shutil.copytree(reproduced, tmp_path / "project", symlinks=True))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def ran(run: Run) -> list[str]:
    """The stages that `dvc repro` really runs."""
    output = run("dvc", "repro").stdout
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


def test_a_fresh_clone_is_clean_after_dvc_repro_and_has_learnt(project: Path, run: Run) -> None:
    changed = run("git", "status", "--porcelain").stdout.splitlines()
    assert set(changed) <= {" M dvc.lock"}  # its checksums of the weights differ on another type of CPU
    metrics = json.loads((project / "experiments" / "pipeline" / "metrics.json").read_text())
    assert metrics["test_accuracy"] >= 0.99
    assert {"train_loss", "train_accuracy", "test_loss", "test_accuracy", "digest"} == set(metrics)


def test_a_second_dvc_repro_has_nothing_to_do(run: Run) -> None:
    assert "Data and pipelines are up to date." in run("dvc", "repro").stdout
    assert "Data and pipelines are up to date." in run("dvc", "status").stdout


def test_editing_a_setting_reruns_its_stages_and_going_back_runs_none(project: Path, run: Run) -> None:
    config = project / "conf" / "config.yaml"
    edit(config, "ITERS: 10000", "ITERS: 50")
    assert ran(run) == ["train", "evaluate", "track"]
    assert len((project / "experiments/pipeline/curve.csv").read_text().splitlines()) == 52
    edit(config, "ITERS: 50", "ITERS: 10000")
    assert ran(run) in ([], ["track"])  # from the run cache; track may say again where the run is recorded
    assert (project / "experiments/pipeline/metrics.json").read_text() == run(
        "git", "show", "HEAD:experiments/pipeline/metrics.json"
    ).stdout


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("seed: 33 ", "seed: 34 ", ["fetch", "train", "evaluate", "track"]),
        ("test_rows: 1000", "test_rows: 500", ["fetch", "evaluate", "track"]),
        ("positive: checkerboard", "positive: triangle", ["fetch", "train", "evaluate", "track"]),
    ],
)
def test_editing_the_data_reruns_what_reads_it(project: Path, run: Run, old: str, new: str, stages: list[str]) -> None:
    edit(project / "conf" / "data" / "generated.yaml", old, new)
    edit(project / "conf" / "config.yaml", "ITERS: 10000", "ITERS: 10000")
    assert ran(run) == stages


def test_a_comment_in_conf_reruns_nothing(project: Path, run: Run) -> None:
    for path in (project / "conf").rglob("*.yaml"):
        path.write_text("# a remark\n" + path.read_text() + "\n# another\n")
    assert "Data and pipelines are up to date." in run("dvc", "repro").stdout


def test_where_a_run_lands_and_whether_it_is_forced_reruns_nothing(project: Path, run: Run) -> None:
    edit(project / "conf" / "config.yaml", "study: adhoc", "study: other")
    edit(project / "conf" / "config.yaml", "force: false", "force: true")
    assert "Data and pipelines are up to date." in run("dvc", "repro").stdout


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_every_module_that_it_imports(stage: str) -> None:
    code = f"import sys, dognet.{stage}; print(*sorted(m for m in sys.modules if m.startswith('dognet.')))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(answer.stdout.split()) | set(lazily_imported(answer.stdout.split()))
    listed = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"][stage]["deps"]
    modules = {path.removeprefix("src/").removesuffix(".py").replace("/", ".") for path in listed if "src/" in path}
    assert modules == imported - {"dognet.errors"}  # which words errors only


def lazily_imported(modules: list[str]) -> set[str]:
    """The modules of ours that these import inside a function."""
    found = set()
    for module in modules:
        tree = ast.parse((REPOSITORY / "src" / f"{module.replace('.', '/')}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dognet."):
                found.add(str(node.module))
            elif isinstance(node, ast.ImportFrom) and node.module == "dognet":
                found |= {f"dognet.{name.name}" for name in node.names}
    return found - set(modules)


def test_the_test_images_never_touch_training(project: Path, run: Run) -> None:
    deps = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["train"]["deps"]
    assert not [path for path in deps if "test" in path]
    (project / "data" / "generated" / "test.csv").unlink()
    run("python", "-m", "dognet.train")


def test_dvc_experiments_override_any_setting(project: Path, run: Run) -> None:
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--allow-empty", "--message=reproduced")
    run("dvc", "exp", "run", "-S", "conf/config.yaml:hiddenNodes=2", "-S", "conf/config.yaml:ITERS=40")
    assert len((project / "experiments/pipeline/curve.csv").read_text().splitlines()) == 42
    assert "hiddenNodes  4       2" in run("dvc", "params", "diff").stdout
    assert "train_loss" in run("dvc", "metrics", "diff").stdout


def test_a_queue_of_dvc_experiments_runs_its_grid(project: Path, run: Run) -> None:
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--allow-empty", "--message=reproduced")
    setting = "conf/config.yaml:"
    run("dvc", "exp", "run", "--queue", "-S", f"{setting}hiddenNodes=2,3", "-S", f"{setting}ITERS=30")
    run("dvc", "exp", "run", "--run-all", "--jobs=1")
    shown = json.loads(run("dvc", "exp", "show", "--json").stdout)
    experiments = [each for revision in shown for each in revision.get("experiments") or []]
    states = [revision["data"] for each in experiments for revision in each["revs"]]
    assert sorted(state["params"]["conf/config.yaml"]["data"]["hiddenNodes"] for state in states) == [2, 3]
    assert all("train_loss" in state["metrics"]["experiments/pipeline/metrics.json"]["data"] for state in states)
    assert run("git", "status", "--porcelain").stdout == ""


def test_dvc_shows_metrics_plots_and_the_graph_offline(project: Path, run: Run) -> None:
    assert "test_accuracy" in run("dvc", "metrics", "show").stdout
    run("dvc", "plots", "show")
    page = (project / "dvc_plots" / "index.html").read_text()
    assert "<svg" in page or list((project / "dvc_plots").rglob("*.svg"))
    assert "| train |" in run("dvc", "dag").stdout


def test_a_mistake_in_conf_ends_in_one_line(project: Path, run: Run) -> None:
    config = project / "conf" / "config.yaml"
    edit(config, "stepSize: 0.3", "stepSize: -0.3")
    answer = run("dvc", "repro", check=False)
    assert "train: stepSize must be a positive finite number, got -0.3\n" in answer.stderr
    assert "Traceback" not in answer.stderr
    edit(config, "stepSize: -0.3", "stepSize: 0.3\nhidenNodes: 3")
    config.write_text(config.read_text().replace("ITERS: 10000", "ITERS: 9"))
    answer = run("dvc", "repro", check=False)
    assert "train: conf/config.yaml: no setting hidenNodes: did you mean hiddenNodes?\n" in answer.stderr


def test_the_pipelines_run_is_believed_only_if_it_is_whole(project: Path) -> None:
    from dognet import runs

    folder = project / "experiments" / "pipeline"
    digest = json.loads((folder / "metrics.json").read_text())["digest"]
    assert runs.finished(folder, digest)
    assert not runs.finished(folder, "0" * 16)
    (folder / "curve.csv").write_text("iteration,train_loss,train_accuracy\n0,0.1,1\n")
    assert not runs.finished(folder, digest)
