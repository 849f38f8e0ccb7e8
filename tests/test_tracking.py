"""A run folder in MLflow: each once and whole, whatever was cut short before."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import environment, make_project, run_in, small, wait_until

from dognet.errors import without_password
from dognet.runs.digest import folder_name
from dognet.runs.folder import FILES, RunError, read_run, runs_folder
from dognet.runs.run import curve_text
from dognet.settings import TrainingSettings
from dognet.stages import once
from dognet.stages.once import run_once
from dognet.tracking import entry
from dognet.tracking.address import AddressError, StoreError, locate
from dognet.tracking.store import Store, recorded, studies_of
from dognet.tracking.sync import Recorder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

pytestmark = pytest.mark.integration

ROWS = ("runs", "params", "tags", "metrics", "latest_metrics", "inputs", "datasets")
KILLS, FOLDERS = (30, 100) if os.environ.get("DOGNET_SOAK") else (2, 24)


def store(root: Path) -> Store:
    """The project's own store."""
    return Store(locate(None, root), root)


def folders(root: Path, study: str = "grid") -> list[Path]:
    """The study's run folders."""
    return sorted((root / "experiments" / study / "runs").glob("*/"))


def rows(root: Path) -> dict[str, int]:
    """How many rows each of MLflow's tables has."""
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        return {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ROWS}


def found(client: MlflowClient, study: str = "grid") -> list[MlflowRun]:
    """The study's runs in MLflow."""
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))


def assert_whole(client: MlflowClient, recorded: MlflowRun, folder: Path) -> None:
    """Assert that MLflow's run has all that the folder has, each row once."""
    run = read_run(folder)
    info, data = recorded.info, recorded.data
    assert info.status == "FINISHED"
    assert (info.start_time, info.end_time) == entry.times(run)
    settings = run.settings.training()
    assert info.run_name == "h{hiddenNodes} s{stepSize} i{ITERS} seed{seed}".format(**settings)
    assert {name: data.params[name] for name in settings} == {name: str(value) for name, value in settings.items()}
    assert data.params["data.source"] == run.images.source
    curves = ("train/loss", "train/accuracy", "validation/loss", "validation/accuracy")
    for name in curves:
        history = client.get_metric_history(info.run_id, name)
        assert [(point.step, point.value) for point in history] == [*run.curve()[name.replace("/", "_")].items()]
    figures = run.figures.by_name() | {"seconds": run.manifest.seconds}
    assert {f"final/{name}": value for name, value in figures.items()}.items() <= data.metrics.items()
    names = {artifact.path for artifact in client.list_artifacts(info.run_id)}
    assert names == {*FILES, "run.json", "W1.csv", "W2.csv"}
    for name in FILES:
        copy = Path(client.download_artifacts(info.run_id, name))
        assert copy.read_bytes() == (folder / name).read_bytes()
    hashes = {"train": run.images.train_sha256, "test": str(run.manifest.test_sha256)}
    hashes["validation"] = str(run.images.validation_sha256)
    inputs = {one.tags[0].value: one.dataset.digest for one in recorded.inputs.dataset_inputs}
    assert inputs == {part: sha256[:36] for part, sha256 in hashes.items()}
    provenance = run.manifest.provenance
    tags = {"digest": run.manifest.digest, "study": "grid", "host": provenance.host, "train_sha256": hashes["train"]}
    tags["validation_sha256"] = hashes["validation"]
    assert tags.items() <= data.tags.items()
    assert data.tags["version.numpy"] == provenance.versions["numpy"]


def test_a_run_is_recorded_whole(grid: Path) -> None:
    opened = store(grid)
    folder = folders(grid)[0]
    run_id = opened.record(folder)
    (recorded,) = found(opened.client)
    assert recorded.info.run_id == run_id
    assert_whole(opened.client, recorded, folder)


def test_recording_again_adds_nothing(grid: Path) -> None:
    opened = store(grid)
    first = [opened.record(folder) for folder in folders(grid)]
    before = rows(grid)
    assert before["runs"] == 12
    assert [opened.record(folder) for folder in folders(grid)] == first
    assert [store(grid).record(folder) for folder in folders(grid)] == first
    assert rows(grid) == before


STEPS = ("create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_recording_that_was_cut_short_is_completed(
    grid: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    opened, folder = store(grid), folders(grid)[0]
    whole_step = getattr(opened.client, step)

    def cut(*values: Any, **named: Any) -> None:
        if when == "after":
            whole_step(*values, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(opened.client, step, cut)
    with pytest.raises(KeyboardInterrupt):
        opened.record(folder)
    later = store(grid)
    assert [run.info.status for run in found(later.client)] in ([], ["RUNNING"], ["FINISHED"])
    later.record(folder)
    (recorded,) = found(later.client)
    assert_whole(later.client, recorded, folder)
    later.record(folders(grid)[1])
    once, twice = rows(grid), 2
    assert once["metrics"] == twice * len(entry.metrics(read_run(folder)))
    assert once["inputs"] == twice * 3  # train, validation and test images


def test_a_run_left_running_by_a_kill_and_trained_again_since_is_not_mixed_with_the_new_one(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, folder = store(grid), folders(grid)[0]
    monkeypatch.setattr(opened.client, "set_terminated", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        opened.record(folder)
    run_once(small(hiddenNodes=2, stepSize=0.3, seed=1, study="grid", force=True), grid)
    later = store(grid)
    later.record(folder)
    (recorded,) = found(later.client)
    assert_whole(later.client, recorded, folder)


def test_a_run_that_is_repeated_is_the_same_run_unless_that_was_deleted(grid: Path) -> None:
    opened = store(grid)
    first = opened.record(folders(grid)[0])
    run_once(small(hiddenNodes=2, stepSize=0.3, seed=1, study="grid", force=True), grid)
    assert opened.record(folders(grid)[0]) == first
    opened.client.delete_run(first)
    again = opened.record(folders(grid)[0])
    assert [run.info.run_id for run in found(opened.client)] == [again]
    opened.client.delete_run(again)
    assert opened.record(folders(grid)[0]) == again  # it was not trained since
    assert found(opened.client) == []


def test_a_failed_run_has_its_traceback_and_gives_way_to_the_one_that_is_trained_in_its_place(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, settings = store(grid), small(study="grid", seed=9)

    def not_finite(*_: Any, **__: Any) -> None:
        raise FloatingPointError("the loss is not finite")

    with monkeypatch.context() as patch:
        patch.setattr(once, "train", not_finite)
        with pytest.raises(FloatingPointError):
            run_once(settings, grid)
    folder = runs_folder(grid, "grid") / folder_name(settings)
    run_id = opened.record(folder)
    assert opened.record(folder) == run_id
    (failed,) = found(opened.client)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["error"] == "FloatingPointError: the loss is not finite"
    assert "digest" not in failed.data.tags
    traceback = Path(opened.client.download_artifacts(run_id, "traceback.txt")).read_text()
    assert traceback.rstrip().endswith("FloatingPointError: the loss is not finite")
    identity = entry.identity(folder, read_run(folder).manifest)
    assert recorded(opened.uri, grid, "grid") == opened.recorded("grid") == {identity: float("inf")}
    run_once(settings, grid)
    opened.record(folder)
    (trained,) = found(opened.client)
    assert trained.info.status == "FINISHED"


def test_a_folder_that_is_not_whole_is_not_recorded(grid: Path) -> None:
    opened, folder = store(grid), folders(grid)[0]
    (folder / "curve.csv").write_text("iteration,train_loss,train_accuracy\n")
    with pytest.raises(RunError, match=r"curve\.csv: changed since it was written"):
        opened.record(folder)
    with pytest.raises(RunError, match="there is none"):
        opened.record(grid / "nowhere")
    assert rows(grid)["runs"] == 0


def test_a_run_in_the_bin_stays_there(grid: Path) -> None:
    opened = store(grid)
    run_id = opened.record(folders(grid)[0])
    opened.client.delete_run(run_id)
    assert opened.record(folders(grid)[0]) == run_id
    assert found(opened.client) == []


def test_a_study_in_the_bin_comes_back_when_it_gets_a_run(grid: Path) -> None:
    first = store(grid)
    run_id = first.record(folders(grid)[0])
    first.client.delete_experiment(first.experiment("grid"))
    store(grid).record(folders(grid)[1])
    assert run_id in {run.info.run_id for run in found(first.client)}


def test_the_studies_that_are_looked_up_are_those_that_mlflow_has(grid: Path) -> None:
    opened = store(grid)
    assert studies_of(opened.uri) == opened.studies() == {}
    client, first = opened.client, folders(grid)[0]
    ids = {name: client.create_experiment(name) for name in ("late", "early", "empty", "in the bin", "runs in the bin")}
    for name in ("in the bin", "runs in the bin", "early", "late"):
        run_id = client.create_run(ids[name]).info.run_id
    client.delete_experiment(ids["in the bin"])
    client.delete_run(client.search_runs([ids["runs in the bin"]])[0].info.run_id)
    client.set_terminated(run_id)
    client.set_experiment_tag(ids["late"], "a", "b")  # the last change
    opened.record(first)
    looked_up = studies_of(opened.uri)
    assert list(looked_up.items()) == list(opened.studies().items())
    assert set(looked_up) == {"late", "early", "grid"}

    (grid / "mlflow.db").write_bytes(b"damaged" * 1000)
    assert studies_of(opened.uri) == studies_of("http://127.0.0.1:1") == {}


def test_an_infinite_loss_of_the_test_images_alone_is_a_tag_instead_of_a_figure(grid: Path) -> None:
    run = read_run(next(iter(folders(grid))))
    infinite = dataclasses.replace(run, metrics=run.figures.model_copy(update={"test_loss": float("inf")}))
    assert entry.tags(infinite)["infinite_loss"] == "of the test images"
    assert "final/test_loss" not in {metric.key for metric in entry.metrics(infinite)}
    assert "infinite_loss" not in entry.tags(run)


def test_a_long_curve_is_thinned_to_what_the_page_draws(grid: Path) -> None:
    folder = folders(grid)[0]
    run = read_run(folder)
    (folder / "curve.csv").write_text(curve_text([(k, 1 / (k + 1), 0.5) for k in range(1000)]))
    steps = [row.step for row in entry.metrics(run) if row.key == "train/loss"]
    assert len(steps) == len(set(steps)) == entry.POINTS
    assert (steps[0], steps[-1]) == (0, 999)


def test_the_store_is_the_setting_or_the_variable_or_a_file_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir("/")
    assert locate(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert locate("sqlite:///own/runs.db", tmp_path) == f"sqlite:///{tmp_path}/own/runs.db"
    assert locate("sqlite:////srv/runs.db", tmp_path) == "sqlite:////srv/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert locate(None, tmp_path) == "http://127.0.0.1:5000"
    assert locate("http://other:5000", tmp_path) == "http://other:5000"


@pytest.mark.parametrize(
    ("uri", "way_out"),
    [
        ("./mlruns", "write a file as sqlite:///mlflow.db, a server as http://localhost:5000; MLflow 3 no longer"),
        ("file:///srv/mlruns", "write a file as sqlite:///mlflow.db"),
        ("localhost:5000", "write http://localhost:5000"),
        ("mlflow.example.org:80/path", "write http://mlflow.example.org:80/path"),
        ("sqlite://runs.db", "write sqlite:///runs.db, with three slashes"),
        ("sqlite:runs.db", "write sqlite:///runs.db, with three slashes"),
        ("runs.db", "write sqlite:///runs.db"),
        ("htp://me:opensesame@host", "write a file as"),
        ("HTTP://host:5000", "write a file as"),
    ],
)
def test_a_uri_that_names_no_store_is_refused_with_the_way_to_write_it(tmp_path: Path, uri: str, way_out: str) -> None:
    with pytest.raises(AddressError, match="is not a store that MLflow can write") as error:
        locate(uri, tmp_path)
    assert f": {way_out}" in str(error.value)
    assert "opensesame" not in str(error.value)


def test_uris_are_taken_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/dog")
    assert locate("http://127.0.0.1:5000/", tmp_path) == "http://127.0.0.1:5000"
    assert locate(" https://host/mlflow// ", tmp_path) == "https://host/mlflow"
    assert locate("sqlite:///~/runs.db", tmp_path) == "sqlite:////home/dog/runs.db"
    assert locate("sqlite:////~/runs.db", tmp_path) == "sqlite:////home/dog/runs.db"
    assert locate("sqlite:///./own/../runs.db", tmp_path) == f"sqlite:///{tmp_path}/runs.db"
    assert locate("postgresql+psycopg2://u@db/mlflow", tmp_path) == "postgresql+psycopg2://u@db/mlflow"
    assert locate("postgresql://me:se/c#r?t@db/mlflow", tmp_path) == "postgresql://me:se/c#r?t@db/mlflow"
    assert locate("none", tmp_path) == "none"


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite://me:opensesame@h/x.db",
        "postgres://me:opensesame@h/x.db",
        "http://me:1 opensesame@h",
        "http://[me:opensesame@h",
        "postgresql://me:opensesame@h:x/y",
    ],
)
def test_the_advice_on_a_uri_leaves_its_password_out(tmp_path: Path, uri: str) -> None:
    with pytest.raises(AddressError) as caught:
        locate(uri, tmp_path)
    assert "opensesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "http://me:secret@host:5000/x: no answer from postgresql://u:p%40ss@db/mlflow",
            "http://host:5000/x: no answer from postgresql://db/mlflow",
        ),
        ("http://me:se@cret@host:5000", "http://host:5000"),
        ("postgresql://me:se/cret@db/mlflow, then http://host/x@y", "postgresql://db/mlflow, then http://host/x@y"),
        ("postgresql://db/mlflow?user=me&password=secret&x=1", "postgresql://db/mlflow?user=me&password=…&x=1"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("mysql+pymysql://db/x?user=me&passwd=secret", "mysql+pymysql://db/x?user=me&passwd=…"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme;PWD%3Dsecret;x", "mssql+pyodbc:///?odbc_connect=UID%3Dme;PWD%3D…;x"),
        ("http:/me:secret@host: no such folder", "http:/host: no such folder"),
    ],
)
def test_a_password_is_left_out_of_every_message(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_a_password_on_the_command_line_is_not_stored(grid: Path) -> None:
    settings, uri = small(study="grid", seed=8), "http://me:opensesame@host:5000"
    run_once(settings, grid, overrides=["seed=8", without_password(f"tracking_uri={uri}")])
    store(grid).record(runs_folder(grid, "grid") / folder_name(settings))
    with closing(sqlite3.connect(grid / "mlflow.db")) as database:
        assert "opensesame" not in "".join(database.iterdump())
    files = [path for path in (grid / "mlartifacts").rglob("*") if path.is_file()]
    assert not [path for path in files if b"opensesame" in path.read_bytes()]


def touched(path: Path) -> float:
    """When the file was written last, 0 for never."""
    return path.stat().st_mtime if path.exists() else 0


def test_a_new_setting_shows_up_by_itself_in_parameters_and_name(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class More(TrainingSettings):
        momentum: float = 0.0
        shape: str = "flat"

    monkeypatch.setattr(entry, "TrainingSettings", More)
    monkeypatch.setattr(More, "training", lambda self, defaults=True: self.model_dump(exclude_defaults=not defaults))
    run = read_run(folders(grid)[0])
    usual = dataclasses.replace(run, settings=More(**run.settings.model_dump()))
    assert entry.run_name(usual) == entry.run_name(run)
    changed = dataclasses.replace(run, settings=usual.settings.model_copy(update={"momentum": 0.9, "shape": "round"}))
    assert entry.run_name(changed) == "h2 s0.3 i150 seed1 momentum0.9 round"
    assert (
        entry.params(changed).items() >= {"momentum": "0.9", "shape": "round", "data.positive": "checkerboard"}.items()
    )


def test_runs_that_look_for_different_labels_have_different_names_and_groups(grid: Path) -> None:
    usual = small()
    other = run_once(small(data=usual.data.model_copy(update={"positive": "triangle"}), usual_positive=False), grid)
    run = run_once(usual, grid)
    assert entry.run_name(other) == f"{entry.run_name(run)} triangle"
    assert entry.tags(other)[entry.WITHOUT_SEED] == f"{entry.tags(run)[entry.WITHOUT_SEED]} triangle"


def test_large_weights_are_not_copied_as_csv(grid: Path) -> None:
    settings = small(hiddenNodes=2500, ITERS=2, study="wide")
    run_once(settings, grid)
    opened = store(grid)
    run_id = opened.record(runs_folder(grid, "wide") / folder_name(settings))
    names = {artifact.path for artifact in opened.client.list_artifacts(run_id)}
    assert "weights.npz" in names
    assert "W1.csv" not in names  # 12 500 weights
    assert "W2.csv" in names


def test_pictures_are_recorded_and_added_later_once(grid: Path) -> None:
    opened, folder = store(grid), folders(grid)[0]
    (folder / "curve.svg").write_text("<svg/>")
    run_id = opened.record(folder)
    (folder / "weights.svg").write_text("<svg>1</svg>")
    opened.add_pictures(folder)
    before = {file.path: file.file_size for file in opened.client.list_artifacts(run_id)}
    assert {"curve.svg", "weights.svg"} <= before.keys()
    uploaded: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened.client, "log_artifact", lambda _, path: uploaded.append(Path(path).name))
        opened.add_pictures(folder)
        assert uploaded == []
        (folder / "weights.svg").write_text("<svg>another</svg>")
        opened.add_pictures(folder)
        assert uploaded == ["weights.svg"]


def test_an_experiment_is_described_by_its_study_s_question_and_keeps_what_a_user_wrote(grid: Path) -> None:
    client, note = store(grid).client, "mlflow.note.content"
    for content, description in (
        (None, None),
        ("a: [broken", None),
        ("# Does it learn?\nhydra: {sweeper: {params: {seed: 1}}}\n", "Does it learn?"),
        ("# And now?\nhydra: {sweeper: {params: {seed: 1}}}\n", "Does it learn?"),
    ):
        if content:
            (grid / "experiments/grid/study.yaml").write_text(content)
        experiment = client.get_experiment(store(grid).experiment("grid"))
        assert experiment.tags.get(note) == description
    client.set_experiment_tag(experiment.experiment_id, note, "My own words")
    store(grid).record(folders(grid)[1])
    assert client.get_experiment(experiment.experiment_id).tags[note] == "My own words"


@pytest.mark.parametrize("link", ["experiments/grid/runs", "experiments/grid", "experiments"])
def test_runs_on_a_scratch_disk_that_links_lead_to_are_recorded(grid: Path, link: str) -> None:
    shutil.move(grid / link, grid.with_name("scratch"))
    (grid / link).symlink_to(grid.with_name("scratch"))
    for added, there in ((12, 0), (0, 12)):
        recorder = Recorder(locate(None, grid), grid, [grid / "experiments"])
        recorder.catch_up()
        assert (recorder.trouble, len(recorder.added), len(recorder.there)) == (None, added, there)


def test_a_folder_that_a_user_named_is_recorded(grid: Path) -> None:
    folder = folders(grid)[0].rename(folders(grid)[0].with_name('Bob\'s best "run"'))
    run_id = store(grid).record(folder)
    assert store(grid).record(folder) == run_id
    assert store(grid).client.get_run(run_id).info.status == "FINISHED"


# --- the SQLite file


def record_in_new_store(root: Path, folder: Path) -> None:
    """Record a run in a store that is made where there is none."""
    Store(f"sqlite:///{root}/mlflow.db", root).record(folder)


def test_eight_processes_at_once_make_one_store(twelve: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(twelve, tmp_path / "fresh", symlinks=True))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "dognet.tracking.store"])  # imported once, and not eight times
    processes = [context.Process(target=record_in_new_store, args=(root, folder)) for folder in folders(root)[:8]]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    opened = store(root)
    assert len({run.data.tags["digest"] for run in found(opened.client)}) == len(found(opened.client)) == 8


@pytest.mark.parametrize("left", ["nothing", "half of it", "an empty file"])
def test_a_store_that_is_not_there_is_made_anew(grid: Path, left: str) -> None:
    with closing(sqlite3.connect(grid / "mlflow.db")) as database:
        database.execute("UPDATE experiments SET name = 'of the store that was here before'")
        database.commit()
        wal = (grid / "mlflow.db-wal").read_bytes()
    (grid / "mlflow.db").unlink()
    (grid / "mlflow.db-wal").write_bytes(wal)  # as a kill leaves it
    if left == "half of it":
        (grid / "mlflow.db.part").write_bytes(b"half of it")
    if left == "an empty file":
        (grid / "mlflow.db").touch()
    store(grid).record(folders(grid)[0])
    assert rows(grid)["runs"] == 1
    assert not (grid / "mlflow.db.part").exists()
    with closing(sqlite3.connect(grid / "mlflow.db")) as database:
        assert {name for (name,) in database.execute("SELECT name FROM experiments")} == {"Default", "grid"}


def test_a_damaged_store_is_named_with_the_way_out(grid: Path) -> None:
    (grid / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="the file is damaged: delete it, and `dognet sync` rebuilds it"):
        store(grid).record(folders(grid)[0])


def schema_of_an_older_mlflow(file: Path, steps_back: int) -> None:
    """Make the tables as MLflow had them so many migrations ago, with an experiment in them."""
    import alembic.command
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    engine, config = create_engine(f"sqlite:///{file}"), _get_alembic_config(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revisions[steps_back])
    engine.dispose()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'kept', 'active')")


@pytest.mark.parametrize("steps_back", [1, 10, 40])
def test_the_store_of_an_older_mlflow_is_brought_up_to_date_and_kept(grid: Path, steps_back: int) -> None:
    (grid / "mlflow.db").unlink()
    schema_of_an_older_mlflow(grid / "mlflow.db", steps_back)
    store(grid).record(folders(grid)[0])
    assert rows(grid)["runs"] == 1
    with closing(sqlite3.connect(grid / "mlflow.db")) as database:
        assert {"kept", "grid"} <= {name for (name,) in database.execute("SELECT name FROM experiments")}


def test_the_store_of_a_newer_mlflow_is_left_as_it_is_and_told(grid: Path) -> None:
    with closing(sqlite3.connect(grid / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
    with pytest.raises(StoreError, match=r"mlflow.db: its tables belong to another version of MLflow; 'mlflow db"):
        store(grid).record(folders(grid)[0])
    assert rows(grid)["runs"] == 0


def test_a_moved_project_has_its_artifacts(grid: Path) -> None:
    first = store(grid).record(folders(grid)[0])
    moved = Path(shutil.move(grid, grid.with_name("moved to a place with spaces")))
    uri = locate(None, moved)
    assert recorded(uri, moved, "grid") is None  # so that nobody takes the runs for recorded
    (moved / "mlflow.db").unlink()
    opened = store(moved)
    run_id = opened.record(folders(moved)[0])
    assert run_id != first
    assert "W1.csv" in {artifact.path for artifact in opened.client.list_artifacts(run_id)}
    assert len(list((moved / "mlartifacts" / "grid").iterdir())) == 2


def test_a_table_of_runs_is_read_while_another_is_recorded(grid: Path) -> None:
    opened = store(grid)
    with closing(sqlite3.connect(grid / "mlflow.db")) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        opened.record(folders(grid)[0])
    assert rows(grid)["runs"] == 1


@pytest.mark.soak
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_kills_at_random_moments_leave_every_run_whole_and_once(
    tmp_path: Path, empty_store: Path, how: signal.Signals
) -> None:
    root = tmp_path / "killed"
    make_project(root)
    for seed in range(FOLDERS):
        run_once(small(study="grid", ITERS=20, seed=seed), root)
    shutil.copy(empty_store, root / "mlflow.db")
    dice, words = random.Random(33), ["dognet", "sync"]
    killed = 0
    while killed < KILLS:
        begin = time.time()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(words, cwd=root, env=environment(root), start_new_session=True, **pipes) as process:
            wait_until(lambda since=begin: process.poll() is not None or touched(root / "mlflow.db-wal") > since)
            time.sleep(dice.uniform(0, 0.08 * FOLDERS / KILLS))
            if process.poll() is None:
                os.killpg(process.pid, how)
            errors = process.communicate()[1]
            if process.returncode:
                killed += 1
                assert errors == ("dognet sync: interrupted\n" if process.returncode == 130 else "")
                assert process.returncode in (128 + how, -how)  # below 0: by the signal itself, as Python was ending
            else:  # it was faster: once more from the start
                shutil.rmtree(root / "mlartifacts")
                shutil.copy(empty_store, root / "mlflow.db")
    run_in(root)(*words)
    opened = store(root)
    by_digest = {run.data.tags["digest"]: run for run in found(opened.client)}
    assert len(found(opened.client)) == len(by_digest) == FOLDERS
    for folder in folders(root):
        assert_whole(opened.client, by_digest[read_run(folder).manifest.digest], folder)
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    n_metrics = sum(len(entry.metrics(read_run(folder))) for folder in folders(root))
    assert rows(root)["metrics"] == n_metrics
