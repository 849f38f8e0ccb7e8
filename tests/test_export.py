"""``dognet export``: what is given away answers as the network does, where there is neither dognet nor a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, environment, loopback_alone, run_in, small, wait_until
from test_disk import mounted
from test_tracking_server import answers, free_port

from dognet.cli import run_subcommand
from dognet.errors import UserError
from dognet.network import NNet
from dognet.runs.folder import ended_runs, fail, read_config, read_manifest, read_run, write_manifest
from dognet.settings import Csv
from dognet.stages.once import run_once
from dognet.tracking.sync import Recorder

pytestmark = pytest.mark.integration

BEST = "experiments/grid/runs/hiddenNodes=4,stepSize=1.0,ITERS=150,seed=1"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of the receiver's Python: a virtual environment with all that is installed here but dognet."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "dognet" not in path.name:
            (packages / path.name).symlink_to(path)
    for name, module in (("mlflow", "mlflow.cli"), ("uvicorn", "uvicorn.main")):
        words = f"from {module} import {'cli' if name == 'mlflow' else 'main'} as main; main()"
        (folder / "bin" / name).write_text(f"#!{folder}/bin/python\n{words}\n")
        (folder / "bin" / name).chmod(0o755)
    words, where = [folder / "bin/python", "-c", "import dognet"], receiver(folder / "bin", folder)
    answer = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=where)
    assert "No module named 'dognet'" in answer.stderr
    return folder / "bin"


def receiver(bare: Path, home: Path) -> dict[str, str]:
    """The environment of whoever was given the model."""
    return {"PATH": f"{bare}:/usr/bin:/bin", "HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true"}


@contextmanager
def serving(model: Path, bare: Path) -> Iterator[str]:
    """Serve the model as the page says, on the loopback; in the end all of it is gone."""
    port, log = str(free_port()), model.with_name("log")
    words = ["mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "--port", port]
    with log.open("wb") as file, subprocess.Popen(
        words, cwd=model.parent, env=receiver(bare, model.parent), stdout=file, stderr=file, start_new_session=True
    ) as process:  # fmt: skip
        try:
            base = f"http://127.0.0.1:{port}"
            wait_until(lambda: process.poll() is not None or answers(int(port)))
            assert process.poll() is None, log.read_text()
            yield base
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def ask(base: str, body: Any) -> Any:
    """What the served model answers."""
    question = urllib.request.Request(
        f"{base}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(question, timeout=30) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        return f"{error.code}: {json.load(error)['message']}"


def expected(folder: Path, X: Any, positive: str) -> list[dict[str, Any]]:
    """What the model is to answer: the network's own prediction. Another setting of BLAS has other last bits."""
    net = NNet.load(folder / "weights.npz")
    labels = [positive if is_positive else f"not {positive}" for is_positive in net.predict(X)]
    probabilities = [pytest.approx(float(probability), 1e-6) for probability in net.predict(X, type="probs")]
    return [{"label": one, "probability": other} for one, other in zip(labels, probabilities, strict=True)]


def own_images(root: Path) -> Path:
    """Train on an own CSV, of other labels, names and brightness; return the run's folder."""
    random = np.random.default_rng(5)
    for name in ("train", "test"):
        table = pd.DataFrame(random.random((60, 3)).round(3), columns=["links", "Mitte", "right, below"])
        table["kind"] = np.where(table["links"] > table["Mitte"], "größer", "other")
        (root / "data" / "own").mkdir(parents=True, exist_ok=True)
        table.to_csv(root / "data" / "own" / f"{name}.csv", index=False)
    files = {name: f"data/own/{name}.csv" for name in ("train", "test")}
    data = Csv(kind="csv", **files, label="kind", positive="größer", white=1.0)
    settings = small(data=data, source="csv", dtype="float32", stepSize=1.0, ITERS=300, study="own")
    return run_once(settings, root).folder


Export = Callable[..., tuple[str, str]]


@pytest.fixture
def export(grid: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Export:
    """Does ``dognet export`` in this process, which has imported MLflow; returns its output and its error."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(grid)

    def work(*words: str) -> tuple[str, str]:
        fault = ""
        try:
            with warnings.catch_warnings(action="ignore"):  # those of MLflow's own code
                run_subcommand("export", words, grid)
        except (UserError, OSError) as error:
            fault = str(error)
        output, errors = capsys.readouterr()
        return output, errors + fault

    return work


def rewrite(folder: Path, **metrics: float) -> None:
    """Give a run other figures, with the checksums that fit them."""
    values = json.loads((folder / "metrics.json").read_text()) | metrics
    (folder / "metrics.json").write_text(json.dumps(values))
    write_manifest(folder, read_manifest(folder))


# --- it answers as the network does


@pytest.mark.slow
@pytest.mark.parametrize("images", ["generated", "own"])
def test_a_served_model_answers_as_the_network_does_without_dognet_and_without_a_network(
    grid: Path, bare: Path, tmp_path: Path, images: str
) -> None:
    folder, positive = own_images(grid), "größer"
    if images == "generated":
        folder, positive = run_once(small(stepSize=3.0, ITERS=2000, study="learnt"), grid).folder, "checkerboard"
    run_in(grid)("dognet", "export", str(folder), "--to", str(tmp_path / "model"))
    table = pd.read_csv(grid / "data" / ("csv" if images == "own" else images) / "test.csv").drop(columns="label")
    fractions = table * 0.73
    backwards = table[table.columns[::-1]]
    with loopback_alone() as alone, serving(tmp_path / "model", bare) as base:
        for asked in (table, fractions, table[:1]):
            answer = ask(base, {"dataframe_split": asked.to_dict("split")})
            assert answer == expected(folder, asked.to_numpy(float), positive)
        assert len({one["label"] for one in ask(base, {"dataframe_split": table.to_dict("split")})}) == 2
        answer = ask(base, {"dataframe_records": backwards.to_dict("records")})
        assert answer == expected(folder, table.to_numpy(float), positive)
        name = table.columns[1]
        for wrong, told in (
            (table.drop(columns=name), f"Model is missing inputs ['{name}']"),
            (table.assign(**{name: "bright"}), f"{name} must be a number from 0 to 255, got 'bright' in row 0"),
            (table.assign(**{name: "12"}), f"{name} must be a number from 0 to 255, got '12' in row 0"),
            (table.assign(**{name: True}), f"{name} must be a number from 0 to 255, got True in row 0"),
            (
                table[:2].assign(**{name: [1, None]}).astype(object),
                f"{name} must be a number from 0 to 255, got nan in",
            ),
            (table.assign(**{name: 256}), f"{name} must be a number from 0 to 255, got 256 in row 0"),
            (table.assign(**{name: -0.5}), f"{name} must be a number from 0 to 255, got -0.5 in row 0"),
        ):
            answer = ask(base, {"dataframe_split": json.loads(wrong.to_json(orient="split"))})
            assert answer.startswith("400: "), answer
            assert told in answer
    if not alone:
        pytest.skip("no right to make a network with the loopback alone: served with this one")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_mlflow_models_predict_answers_as_the_network_does(grid: Path, bare: Path, tmp_path: Path, kind: str) -> None:
    run_in(grid)("dognet", "export", "grid", "--to", str(tmp_path / "model"))
    file, table = grid / "data/generated/test.csv", pd.read_csv(grid / "data/generated/test.csv")
    if kind == "json":
        file = tmp_path / "test.json"
        file.write_text(json.dumps({"dataframe_split": table.to_dict("split")}))
    words = ["mlflow", "models", "predict", "-m", "model", "-i", str(file), "-t", kind, "--env-manager", "local"]
    subprocess.run([*words, "-o", "answer.json"], cwd=tmp_path, env=receiver(bare, tmp_path), check=True)
    answer = json.loads((tmp_path / "answer.json").read_text())["predictions"]
    assert answer == expected(grid / BEST, table.drop(columns="label").to_numpy(float), "checkerboard")


def test_a_model_is_loaded_beside_dognet_too(grid: Path) -> None:
    run_in(grid)("dognet", "export", "grid")
    program = (
        "import mlflow, pandas; table = pandas.read_csv('data/generated/test.csv').tail(5)\n"
        "model = mlflow.pyfunc.load_model('models/grid')\n"
        "from dognet import runs; from dognet.network import nnet\n"
        "print(nnet.__file__, list(model.predict(table).index))"
    )
    answer = run_in(grid)(sys.executable, "-c", program).stdout
    assert answer == f"{grid}/models/grid/code/dognet/network/nnet.py [45, 46, 47, 48, 49]\n"


def test_a_cell_of_a_csv_that_is_no_pixel_is_named_by_column_and_row(grid: Path) -> None:
    run_in(grid)("dognet", "export", "grid")
    wrong = {
        "1,2,dog,4": "pixel2 must be a number from 0 to 255, got 'dog' in row 1",
        "1,,3,4": "pixel1 must be a number from 0 to 255, got nan in row 1",
        "1,2,,x": "pixel2 must be a number from 0 to 255, got nan in row 1",
        "1,2,3,300.5": "pixel3 must be a number from 0 to 255, got 300.5 in row 1",
    }
    program = (
        "import io, mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model('models/grid')\n"
        f"for row in {list(wrong)}:\n"
        "    table = pandas.read_csv(io.StringIO(f'pixel0,pixel1,pixel2,pixel3\\n1,2,3,4\\n{row}\\n'))\n"
        "    try: print(model.predict(table))\n"
        "    except Exception as error: print(str(error).splitlines()[-1])"
    )
    for line, message in zip(
        run_in(grid)(sys.executable, "-c", program).stdout.splitlines(), wrong.values(), strict=True
    ):
        assert line.endswith(message)


# --- which run


def test_the_best_run_is_that_with_the_least_validation_loss_whatever_it_gets_right(grid: Path, export: Export) -> None:
    every = [run for run in ended_runs(grid / "experiments") if run.folder != grid / BEST]
    rewrite(grid / BEST, test_accuracy=0.1, test_loss=9.0)
    for run in every:
        assert run.figures.selection_loss > read_run(grid / BEST).figures.selection_loss
        assert run.figures.test_accuracy > 0.1
    output = export("grid")[0]
    assert output.startswith(f"{BEST}: validation loss ")
    assert "test accuracy 0.1 (baseline " in output
    given, best = NNet.load(grid / "models/grid/artifacts/weights.npz"), NNet.load(grid / BEST / "weights.npz")
    assert np.array_equal(given.W1, best.W1)
    assert np.array_equal(given.W2, best.W2)


def test_without_a_name_it_is_the_run_of_dvc_repro(grid: Path, export: Export) -> None:
    shutil.copytree(grid / BEST, grid / "experiments" / "pipeline")
    rewrite(grid / "experiments" / "pipeline")
    assert export()[0].startswith("experiments/pipeline: validation loss ")


def test_a_failed_run_and_a_damaged_one_are_not_given_away(grid: Path, export: Export) -> None:
    second = sorted((run.figures.selection_loss, run.folder) for run in ended_runs(grid))[1][1].relative_to(grid)
    (grid / BEST / "curve.csv").write_text("")
    damage = f"{BEST}/curve.csv: changed since it was written (its sha256 differs from run.json's)"
    assert export(BEST) == ("", damage)
    output, errors = export("grid")
    assert output.startswith(f"{second}: ")
    where = f"grid: skipped {Path(BEST).name}: curve.csv"
    assert errors == f"{where}: changed since it was written (its sha256 differs from run.json's)\n"
    manifest, (_, images) = read_manifest(grid / second), read_config(grid / second)
    settings = small(hiddenNodes=4, stepSize=1.0, seed=int(second.name[-1]), study="grid")
    fail(grid / second, settings, images, manifest, FloatingPointError("too large"))
    line = f"{second}: this run failed (FloatingPointError: too large), it has no network"
    assert export(str(second)) == ("", line)
    assert str(second) not in export("grid", "--to", "other")[0]


def test_the_columns_are_the_pixels_that_the_run_was_trained_on_whatever_the_images_are_now(
    grid: Path, export: Export
) -> None:
    folder = own_images(grid)
    shutil.rmtree(grid / "data")
    export(str(folder), "--to", "given")
    columns = json.loads((grid / "given/input_example.json").read_text())["columns"]
    assert columns == ["links", "Mitte", "right, below"]


# --- what the folder holds


def test_a_model_holds_no_pickle_no_path_of_this_machine_and_no_address(grid: Path, tmp_path: Path) -> None:
    (grid / "uv.lock").write_text('source = { registry = "https://packages.example.org" }\n')
    (grid / "pyproject.toml").write_text("[project]\n")
    answer = run_in(grid)("dognet", "export", "grid", PIP_INDEX_URL="https://packages.example.org")
    assert answer.stderr == ""
    assert answer.stdout.splitlines()[1:] == ["models/grid"]
    files = {path.relative_to(grid / "models/grid").as_posix() for path in grid.rglob("models/grid/**/*.*")}
    names = ("__init__", "blocks", "checks", "gradient", "nnet", "training")
    network = {f"code/dognet/network/{name}.py" for name in names}
    methods = ("__init__", "gradient_descent", "minibatches", "random_weights")
    network |= {f"code/dognet/network/methods/{name}.py" for name in methods}
    code = {"served.py", "code/dognet/__init__.py", *network}
    environments = {"requirements.txt", "conda.yaml", "python_env.yaml"}
    examples = {"input_example.json", "serving_input_example.json"}
    assert files - {"code/dognet"} == {*code, *environments, *examples, "artifacts/weights.npz"}
    here = str(grid), str(tmp_path), str(REPOSITORY), sys.prefix, str(Path.home()), "/tmp", "://", "example.org"
    texts = [path for path in (grid / "models/grid").rglob("*") if path.is_file() and path.suffix != ".npz"]
    found = [(path.name, word) for path in texts for word in here if word in path.read_text(encoding="utf-8")]
    assert not found
    with np.load(grid / "models/grid/artifacts/weights.npz", allow_pickle=False) as arrays:
        assert [arrays[name].dtype.kind for name in arrays.files] == ["f", "f", "b"]
    assert "python_model:" not in (grid / "models/grid/MLmodel").read_text()  # where MLflow notes a pickle


def test_a_model_says_what_it_is_and_needs_what_is_installed(grid: Path, export: Export) -> None:
    import mlflow
    from mlflow.models import Model

    export("grid")
    model, run = Model.load(str(grid / "models/grid")), read_run(grid / BEST)
    assert model.metadata["digest"] == run.manifest.digest
    settings = run.settings.training()
    assert {name: model.metadata[name] for name in settings} == {name: str(value) for name, value in settings.items()}
    assert model.metadata["train_loss"] == run.figures.train_loss
    assert [column["name"] for column in model.get_input_schema().to_dict()] == list(run.images.pixels)
    assert [column["name"] for column in model.get_output_schema().to_dict()] == ["label", "probability"]
    needed = (grid / "models/grid/requirements.txt").read_text().splitlines()
    assert needed == [f"mlflow=={mlflow.__version__}", f"numpy=={np.__version__}"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_export_that_is_ended_leaves_no_half_model_and_can_be_repeated(grid: Path, number: int) -> None:
    words = ["dognet", "export", "grid", "--to", "given"]
    with subprocess.Popen(words, cwd=grid, env=environment(grid), stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: bool(list(grid.glob("given.*.part/*"))))
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    expected = {
        signal.SIGKILL: (-9, ""),
        signal.SIGTERM: (143, ""),
        signal.SIGINT: (130, "dognet export: interrupted\n"),
    }
    assert (process.returncode, told) == expected[signal.Signals(number)]
    assert not (grid / "given").exists()
    assert number == signal.SIGKILL or not list(grid.glob("given.*"))
    run_in(grid)(*words)
    assert (grid / "given" / "MLmodel").is_file()


def test_a_folder_may_have_any_name_and_is_made_with_those_above_it(grid: Path, bare: Path, export: Export) -> None:
    to = grid / "für dich" / "hier" / "100 % #1?"
    export("grid", "--to", str(to))
    (grid / "empty").mkdir()  # one that is empty may be there
    export("grid", "--to", "empty")
    assert (grid / "empty/MLmodel").is_file()
    program = "import mlflow; print(mlflow.pyfunc.load_model('.').metadata.metadata['study'])"
    words = [bare / "python", "-c", program]
    answer = subprocess.run(words, cwd=to, env=receiver(bare, grid), capture_output=True, text=True, check=True)
    assert answer.stdout == "grid\n"


@pytest.mark.parametrize("size", ["8k", "24k", "44k"])
def test_an_export_onto_a_full_disk_is_told_in_one_line_and_leaves_nothing(grid: Path, size: str) -> None:
    with mounted(grid / "disk", size) as disk:
        answer = run_in(grid)("dognet", "export", "grid", "--to", "disk/model", check=False)
        assert answer.returncode == 1
        assert re.fullmatch("dognet export: .*No space left on device.*\n", answer.stderr)
        assert not list(disk.iterdir())


# --- MLflow's registry


def table(root: Path, name: str) -> list[tuple[Any, ...]]:
    """The rows of a table of MLflow's."""
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        return database.execute(f"SELECT * FROM {name}").fetchall()


def test_a_run_is_registered_once_under_a_name(grid: Path, export: Export) -> None:
    from mlflow import MlflowClient

    run = read_run(grid / BEST)
    output, errors = export("grid", "--register", "boards")
    assert (output.splitlines()[1:], errors) == (["models:/boards/1"], "")
    assert not (grid / "models").exists()
    before = table(grid, "metrics")
    assert export(BEST, "--register", "boards")[0].splitlines()[1:] == ["models:/boards/1 is already registered"]
    other = "experiments/grid/runs/hiddenNodes=2,stepSize=0.3,ITERS=150,seed=1"
    assert "models:/boards/2\n" in export(other, "--register", "boards")[0]
    assert len(table(grid, "model_versions")) == len(table(grid, "logged_models")) == 2
    assert table(grid, "metrics")[: len(before)] == before
    client = MlflowClient(f"sqlite:///{grid}/mlflow.db")
    version = client.get_model_version("boards", "1")
    recorded = client.get_run(str(version.run_id))
    assert recorded.data.tags["digest"] == version.tags["digest"] == run.manifest.digest
    assert (version.tags["study"], version.tags["folder"]) == ("grid", run.folder.name)
    for name in ("validation_loss", "test_accuracy"):
        assert float(version.tags[name]) == run.figures.by_name()[name]
        assert f"{run.figures.by_name()[name]:.4g}" in str(version.description)
    model = client.get_logged_model(recorded.outputs.model_outputs[0].model_id)
    shown = {metric.key: metric.value for metric in model.metrics or ()}
    assert shown.items() >= {"final/train_loss": run.figures.train_loss}.items()
    assert not [name for name in shown if name.startswith("train/")]  # nothing of how it began
    recorder = Recorder(f"sqlite:///{grid}/mlflow.db", grid, [grid / "experiments"])
    recorder.catch_up()
    assert (len(recorder.added), len(recorder.there)) == (10, 2)


def test_a_registered_model_is_loaded_by_its_name_and_registered_again_when_the_project_was_moved(
    grid: Path, bare: Path
) -> None:
    run_in(grid)("dognet", "export", "grid", "--register", "boards")
    moved = Path(shutil.move(grid, grid.with_name("moved to a place with spaces")))
    answer = run_in(moved)("dognet", "export", "grid", "--register", "boards", check=False)
    assert "mlflow.db was moved" in answer.stderr
    (moved / "mlflow.db").unlink()
    run_in(moved)("dognet", "export", "grid", "--register", "boards")
    file = moved / "data/generated/test.csv"
    program = (
        "import json, mlflow, pandas, sys; mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        f"answer = mlflow.pyfunc.load_model('models:/boards/1').predict(pandas.read_csv({str(file)!r}))\n"
        "print(json.dumps(answer.to_dict('records')))"
    )
    words = [bare / "python", "-c", program]
    answer = subprocess.run(words, cwd=moved, env=receiver(bare, moved), capture_output=True, text=True, check=True)
    X = pd.read_csv(file).drop(columns="label").to_numpy(float)
    assert json.loads(answer.stdout) == expected(moved / BEST, X, "checkerboard")


# --- what goes wrong


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gird"], "no study gird, there are empty, grid, half"),
        (
            ["empty"],
            "study empty: {root}/experiments/empty/study.yaml: a study has its grid under hydra.sweeper.params, as in",
        ),
        (["experiments/half"], "study half has no finished run: dognet --multirun study=half"),
        ([], "pipeline has no finished run: dvc repro"),
        (["grid", "--to", "full"], "full already exists: delete it, or name another folder with --to"),
        (["grid", "--to", "full/file"], "full/file already exists: delete it, or name another folder with --to"),
        (["grid", "half", "--to", "new"], "--to takes one run, got 2: leave it out, or export one after another"),
        (["grid", "--to", "full/file/model"], "[Errno 17] File exists: "),
        (["grid", "--to", "/proc/model"], "[Errno 2] No such file or directory: '/proc/model."),
        (
            ["grid", "--register", "a/b"],
            "--register must be a plain name: letters, digits, _ - and . inside, got 'a/b'",
        ),
        (["grid", "--register", ""], "--register must be a plain name: letters, digits, _ - and . inside, got ''"),
        (["grid", "--register", "x", "--tracking-uri", "http://127.0.0.1:9"], "http://127.0.0.1:9: no answer"),
        (["grid", "--register", "x", "--tracking-uri", "none"], "tracking_uri is none"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(grid: Path, export: Export, words: list[str], told: str) -> None:
    (grid / "experiments/empty").mkdir()
    (grid / "experiments/empty/study.yaml").write_text("ITERS: 10\n")
    (grid / "experiments/half/runs/one").mkdir(parents=True)
    (grid / "full").mkdir()
    (grid / "full/file").touch()
    _, error = export(*words)
    assert error.startswith(told.format(root=grid))
    assert "\n" not in error
    assert not (grid / "models").exists()


def test_help_waits_for_neither_mlflow_nor_pandas(tmp_path: Path) -> None:
    program = "import sys; from dognet.tracking import export; print({'mlflow', 'pandas', 'hydra'} & set(sys.modules))"
    assert run_in(tmp_path)(sys.executable, "-c", program).stdout == "set()\n"
