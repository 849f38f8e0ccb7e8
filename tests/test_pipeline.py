"""`dvc repro` as a newcomer meets it: from a fresh clone, offline, through edits and back."""

from __future__ import annotations

import ast
import functools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, Run, edit, loopback_alone, run_in

from dognet.runs.folder import PIPELINE, RunError, finished, read_config, read_metrics, read_run
from dognet.runs.run import CURVE

STAGES = ("fetch", "train", "evaluate", "plot", "track")
NO_RESULT = {"errors", "interrupt", "project"}  # how a command finds its folder, and how it ends


README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SHOW = shlex.split(re.findall("`(dvc exp show .*?)`", README)[0])

QUICK = {  # recording is the subject of test_tracking_stage.py
    "MLFLOW_TRACKING_URI": "none",
    "PYTHONDONTWRITEBYTECODE": "",  # byte code appears in packages that stages depend on
}


@pytest.fixture(scope="session")
def reproduced(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `dvc repro` has run once."""
    folder = Path(shutil.copytree(clone, tmp_path_factory.mktemp("reproduced") / "project"))
    run_in(folder)("dvc", "repro", **QUICK)
    return folder


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of its own for the test."""
    return Path(shutil.copytree(reproduced, tmp_path / "project", symlinks=True))


@pytest.fixture
def run(project: Path) -> Run:
    """Runs a command in ``project``."""
    return functools.partial(run_in(project), **QUICK)


@pytest.fixture(scope="session")
def short(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a training of 50 iterations."""
    folder = Path(shutil.copytree(reproduced, tmp_path_factory.mktemp("short") / "project"))
    edit(folder / "conf" / "config.yaml", "ITERS: 10000", "ITERS: 50")
    run_in(folder)("dvc", "repro", **QUICK)
    return folder


def ran(run: Run) -> list[str]:
    """The stages that `dvc repro` really runs."""
    output = run("dvc", "repro").stdout
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


def test_a_fresh_clone_is_clean_after_dvc_repro_and_has_learnt(project: Path, run: Run) -> None:
    assert run("git", "status", "--porcelain").stdout == ""
    metrics = json.loads((project / "experiments" / "pipeline" / "metrics.json").read_text())
    assert metrics["test_accuracy"] >= 0.99
    assert {"train_loss", "validation_loss", "validation_accuracy", "test_loss", "baseline", "digest"} < set(metrics)
    header = ",".join(["iteration", *CURVE])
    assert (project / "experiments" / "pipeline" / "curve.csv").read_text().startswith(f"{header}\n")


def test_another_processors_last_bits_change_nothing_that_git_keeps(project: Path) -> None:
    older = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512_ICL AVX512_SPR", "OPENBLAS_CORETYPE": "Nehalem"}
    run = functools.partial(run_in(project), PYTHONPATH=str(project / "src"), **QUICK, **older)  # no fork: NumPy loads
    program = "import dognet, numpy; print(dognet.logistic(numpy.linspace(-9, 9, 999)).tobytes().hex())"
    if run("python", "-c", program).stdout == run_in(project)("python", "-c", program).stdout:
        pytest.skip("this processor always computes the same bits")
    assert "Running stage 'plot'" in run("dvc", "repro", "--force").stdout
    assert run("git", "status", "--porcelain").stdout == ""


def test_a_second_dvc_repro_has_nothing_to_do(run: Run) -> None:
    assert "Data and pipelines are up to date." in run("dvc", "repro").stdout
    missing = run("dvc", "status").stdout.split()  # the course's files alone, which nothing here needs
    assert missing == ["data.dvc:", "changed", "outs:", "not", "in", "cache:", "data/raw/lecture"]


def test_editing_a_setting_reruns_its_stages_and_going_back_runs_none(project: Path, run: Run) -> None:
    config = project / "conf" / "config.yaml"
    edit(config, "ITERS: 10000", "ITERS: 50")
    assert ran(run) == ["train", "evaluate", "plot", "track"]
    assert len((project / "experiments/pipeline/curve.csv").read_text().splitlines()) == 52
    edit(config, "ITERS: 50", "ITERS: 10000")
    assert ran(run) == ["track"]  # the others come from the run cache
    assert read_run(project / PIPELINE).settings.ITERS == 10000  # run.json, which DVC does not keep, is made anew
    assert (project / "experiments/pipeline/metrics.json").read_text() == run(
        "git", "show", "HEAD:experiments/pipeline/metrics.json"
    ).stdout


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("seed: 33 ", "seed: 34 ", ["fetch", "train", "evaluate", "plot", "track"]),
        ("test_rows: 1000", "test_rows: 500", ["fetch", "evaluate", "plot", "track"]),
        ("validation: 1000", "validation: 500", ["fetch", "train", "evaluate", "plot", "track"]),
        ("validation: 1000", "validation: 0", ["fetch", "train", "evaluate", "plot", "track"]),
        ("positive: checkerboard", "positive: triangle", ["fetch", "train", "evaluate", "plot", "track"]),
    ],
)
def test_editing_the_data_reruns_what_reads_it(
    short: Path, tmp_path: Path, old: str, new: str, stages: list[str]
) -> None:
    project = Path(shutil.copytree(short, tmp_path / "project", symlinks=True))
    edit(project / "conf" / "data" / "generated.yaml", old, new)
    assert ran(functools.partial(run_in(project), **QUICK)) == stages


def test_a_comment_in_conf_reruns_nothing(project: Path, run: Run) -> None:
    for path in (project / "conf").rglob("*.yaml"):
        path.write_text("# a remark\n" + path.read_text() + "\n# another\n")
    assert "Data and pipelines are up to date." in run("dvc", "repro").stdout


def test_where_a_run_lands_and_whether_it_is_forced_reruns_nothing(project: Path, run: Run) -> None:
    edit(project / "conf" / "execution.yaml", "study: adhoc", "study: other")
    edit(project / "conf" / "execution.yaml", "force: false", "force: true")
    assert "Data and pipelines are up to date." in run("dvc", "repro").stdout


def test_a_changed_module_reruns_the_stages_that_use_it(short: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(short, tmp_path / "project", symlinks=True))
    source, run = project / "src" / "dognet", functools.partial(run_in(project), **QUICK)
    assert list(source.rglob("__pycache__"))  # byte code reruns nothing
    edit(source / "sweep" / "sweeper.py", "already", "before")
    assert ran(run) == []
    edit(source / "pictures.py", "#fdfdfd", "#fefefe")
    assert ran(run) == ["plot", "track"]
    gradient = source / "network" / "gradient.py"
    gradient.write_text("# a remark\n" + gradient.read_text())
    assert ran(run) == ["train", "evaluate", "plot"]  # their results are the same, so nothing is to record


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_that_it_imports(stage: str) -> None:
    code = f"import sys, dognet.stages.{stage}; print(*sorted(m for m in sys.modules if m.startswith('dognet.')))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(answer.stdout.split())
    imported = {path_of(module) for module in loaded | lazily_imported(loaded)}
    imported = {path for path in imported if path.stem not in {"__init__", *NO_RESULT}}
    deps = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"][stage]["deps"]
    listed = {Path(dep) for dep in deps if dep.startswith("src/")}
    assert {path for path in imported if not {path, *path.parents} & listed} == set()
    assert {dep for dep in listed if not any(dep in {path, *path.parents} for path in imported)} == set()


def path_of(module: str) -> Path:
    """The file of a module of ours, from the root."""
    path = Path("src", *module.split("."))
    return path / "__init__.py" if (REPOSITORY / path).is_dir() else path.with_suffix(".py")


def lazily_imported(modules: set[str]) -> set[str]:
    """The modules of ours that these import inside a function."""
    found = set()
    for module in modules:
        for node in ast.walk(ast.parse((REPOSITORY / path_of(module)).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dognet."):
                found.add(str(node.module))
            elif isinstance(node, ast.ImportFrom) and node.module == "dognet":
                found |= {f"dognet.{name.name}" for name in node.names}
    return found


def test_the_test_images_never_touch_training(short: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(short, tmp_path / "project", symlinks=True))
    deps = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["train"]["deps"]
    assert not [path for path in deps if "test" in path]
    (project / "data" / "generated" / "test.csv").unlink()
    run_in(project)("python", "-P", "-m", "dognet.stages.train")


def commit(run: Run) -> None:
    """Commit what `dvc repro` changed."""
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--allow-empty", "--message=reproduced")


def test_experiments_override_any_setting_and_are_shown_a_screen_wide(project: Path, run: Run) -> None:
    commit(run)
    run("dvc", "exp", "run", "-S", "conf/config.yaml:hiddenNodes=2", "-S", "conf/config.yaml:ITERS=40")
    assert len((project / "experiments/pipeline/curve.csv").read_text().splitlines()) == 42
    assert "hiddenNodes  4       2" in run("dvc", "params", "diff").stdout
    assert "train_loss" in run("dvc", "metrics", "diff").stdout
    shown = run(*SHOW).stdout
    assert max(map(len, shown.splitlines())) <= 120
    for column in ("train_loss", "test_accuracy", "hiddenNodes", "ITERS"):
        assert column in shown
    assert "digest" not in shown
    run("git", "restore", ".")
    (name,) = run("dvc", "exp", "list", "--name-only").stdout.split()
    answer = run("dvc", "exp", "apply", name, check=False)  # DVC asks for the course's images too, at its end
    assert "Checkout failed for following targets:\ndata/raw/lecture\n" in answer.stderr
    assert "hiddenNodes: 2" in (project / "conf" / "config.yaml").read_text()
    assert read_config(project / PIPELINE)[0].hiddenNodes == 2


@pytest.mark.slow
def test_a_queue_of_experiments_runs_its_grid_without_a_network(project: Path, run: Run) -> None:
    commit(run)
    setting = "conf/config.yaml:"
    with loopback_alone() as alone:
        if not alone:
            pytest.skip("no right to make a network of its own")
        assert "not in cache" in run("dvc", "status").stdout  # the course's files, which nothing needs
        run("dvc", "exp", "run", "--queue", "-S", f"{setting}hiddenNodes=2,3", "-S", f"{setting}ITERS=30")
        run("dvc", "exp", "run", "--run-all", "--jobs=1")
        run("dvc", "exp", "run", "--temp", "-S", f"{setting}hiddenNodes=5", "-S", f"{setting}ITERS=30")
        shown = json.loads(run("dvc", "exp", "show", "--json").stdout)
        assert run("git", "status", "--porcelain").stdout == ""
        run("dvc", "exp", "run", "-S", f"{setting}hiddenNodes=6", "-S", f"{setting}ITERS=30")
    experiments = [each for revision in shown for each in revision.get("experiments") or []]
    states = [revision["data"] for each in experiments for revision in each["revs"]]
    assert sorted(state["params"]["conf/config.yaml"]["data"]["hiddenNodes"] for state in states) == [2, 3, 5]
    assert all("train_loss" in state["metrics"]["experiments/pipeline/metrics.json"]["data"] for state in states)


def test_after_a_switch_the_pipelines_run_says_that_dvc_repro_makes_it_whole(project: Path, run: Run) -> None:
    commit(run)
    edit(project / "conf" / "config.yaml", "ITERS: 10000", "ITERS: 40")
    run("dvc", "repro")
    commit(run)
    run("git", "checkout", "--quiet", "HEAD~1")
    with pytest.raises(RunError, match=r"changed since it was written .*: dvc repro makes the pipeline's run whole"):
        read_run(project / PIPELINE)
    assert ran(run) == ["track"]
    assert read_run(project / PIPELINE).settings.ITERS == 10000


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
    assert "train: no setting hidenNodes: did you mean hiddenNodes?\n" in answer.stderr


def test_the_pipelines_run_is_believed_only_if_it_is_whole(project: Path) -> None:
    folder = project / PIPELINE
    digest = read_metrics(folder).digest
    assert finished(folder, digest)
    assert not finished(folder, "0" * 16)
    (folder / "curve.csv").write_text("iteration,train_loss,train_accuracy\n0,0.1,1\n")
    assert not finished(folder, digest)
