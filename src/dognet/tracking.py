"""Run folders in MLflow: each once and whole, whatever was cut short before.

MLflow's run belongs to the run folder by its tag ``digest``, or ``failed`` where the run failed. It is RUNNING only
while it is being recorded: one that a kill left so is completed by recording its folder again, which adds no row twice.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from dognet import runs
from dognet.config import SETTINGS
from dognet.runs import Run, RunError

POINTS = 120  # of a curve, which cost half of the recording; curve.csv and curve.svg hold all
BUT_SEED = "settings"  # the tag that runs share which differ in their seed only
QUIET = {  # for MLflow, before it is imported
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with the password of the store's URI in it
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is down is given up after 5 s; by default after 245 s
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds, for one that takes requests and never answers; by default 120
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
    "PGCONNECT_TIMEOUT": "5",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_UV_AUTO_DETECT": "false",  # or a model gets the uv.lock of the folder that one is in
}


class StoreError(Exception):
    """The store can't be reached or written: which one, and why."""


def quiet() -> None:
    """Set what MLflow reads from the environment, before it is imported; what is set already stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # or Ctrl-C in a query prints a traceback


def locate(tracking_uri: str | None, root: Path) -> str:
    """Return the URI of the store: the setting, else $MLFLOW_TRACKING_URI, else mlflow.db in ``root``; absolute."""
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    file = uri.removeprefix("sqlite:///")
    return uri if file == uri else f"sqlite:///{(root / file).resolve()}"


def without_password(text: str) -> str:
    """Return the text with the user and password of each URI in it left out."""
    return re.sub(r"://[^/@\s]+@", "://", text)


IDENTITIES = ("digest", "failed")


def lacking(count: int, trouble: str) -> str:
    """Return the words for runs that MLflow lacks."""
    they, them = ("run is", "it") if count == 1 else ("runs are", "them")
    return f"{count} {they} not recorded in MLflow ({trouble}): dognet-sync records {them}"


def identity(folder: Path, info: dict[str, Any]) -> tuple[str, str]:
    """Return the tag by which MLflow knows the run of this run.json."""
    return ("digest", info["digest"]) if info["status"] == "finished" else ("failed", f"{folder.name} {info['start']}")


def recorded(uri: str, study: str) -> set[tuple[str, str]] | None:
    """Return the identities of the study's runs that an SQLite store holds whole, without the cost of MLflow.

    None for another kind of store: ``Store.recorded`` asks it.
    """
    if not uri.startswith("sqlite:///"):
        return None
    file = Path(uri.removeprefix("sqlite:///"))
    if not file.is_file():
        return set()
    query = """SELECT key, value FROM tags JOIN runs USING (run_uuid) JOIN experiments USING (experiment_id)
        WHERE key IN ('digest', 'failed') AND status != 'RUNNING' AND experiments.name = ?"""
    try:
        with closing(sqlite3.connect(file)) as database:
            return set(database.execute(query, (study,)))
    except sqlite3.Error:
        return set()  # recording will tell what ails it


class Store:
    """An MLflow store, opened for recording; an SQLite file is made where there is none.

    One process at a time writes: SQLite loses rows otherwise. It waits its turn for up to ``wait`` seconds. What fails
    is raised as StoreError.
    """

    def __init__(self, uri: str, root: Path, wait: float = 120) -> None:
        if uri == "none":
            raise StoreError("tracking_uri is none")
        quiet()
        from mlflow import MlflowClient

        self.uri = uri
        self.file = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
        if self.file and self.file.is_dir():
            raise StoreError(f"{uri}: {self.file} is a folder: name a file, as in sqlite:///mlflow.db")
        if self.file and set("%?") & set(str(self.file)):
            raise StoreError(f"{self.file}: MLflow opens no SQLite file with % or ? in its path: set tracking_uri")
        home = self.file.parent if self.file else root.resolve()
        self.artifacts = None if uri.startswith("http") else home / "mlartifacts"  # a server knows its own place
        place = Path(tempfile.gettempdir(), f"dognet-{os.getuid()}-{runs.hash_of({'uri': uri})}")
        self.lock = FileLock(f"{self.file or place}.lock", timeout=wait)
        self.experiments: dict[str, str] = {}
        with self.writing():
            if self.file:
                self.prepare(self.file)
            elif not uri.startswith("http"):
                from sqlalchemy import create_engine

                engine = create_engine(uri)
                engine.connect().close()  # MLflow itself would try a silent database for minutes
                engine.dispose()
            self.client = MlflowClient(tracking_uri=uri)
            self.client.search_experiments(max_results=1)  # a store that can't be used is to say so here

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes; what fails is raised as StoreError."""
        from mlflow.exceptions import MlflowException
        from requests import get
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self.lock:
                if self.uri.startswith("http"):  # MLflow itself would try a silent server for minutes
                    get(f"{self.uri.rstrip('/')}/health", timeout=5)
                if self.file and self.file.is_file():  # and a file that is locked for 20 s
                    with closing(sqlite3.connect(self.file, timeout=5)) as database:
                        database.execute("BEGIN IMMEDIATE")
                yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
            raise StoreError(f"{without_password(self.uri)}: {why(error)}") from error

    def prepare(self, file: Path) -> None:
        """Make the SQLite file under a temporary name if there is none; let readers in while it is written."""
        from mlflow import MlflowClient

        if not file.is_file() or file.stat().st_size == 0:
            part = file.with_name(f"{file.name}.part")
            part.unlink(missing_ok=True)
            MlflowClient(tracking_uri=f"sqlite:///{part}").search_experiments(max_results=1)
            for rest in ("-wal", "-shm"):  # of a file that was deleted: SQLite would read them as the new one's
                Path(f"{file}{rest}").unlink(missing_ok=True)
            part.replace(file)
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            self.follow_move(database)

    def follow_move(self, database: sqlite3.Connection) -> None:
        """Point to the artifacts where they are now: MLflow keeps absolute paths, which a moved folder makes wrong."""
        for study, location in database.execute("SELECT name, artifact_location FROM experiments").fetchall():
            here = self.location(study)
            if location != here and str(location).endswith(f"/mlartifacts/{study}"):
                moved = (location, here, study)
                database.execute(
                    "UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?) WHERE experiment_id IN "
                    "(SELECT experiment_id FROM experiments WHERE name = ?)",
                    moved,
                )
                for table, column in (("logged_models", "artifact_location"), ("model_versions", "storage_location")):
                    database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", moved[:2])
                database.execute("UPDATE experiments SET artifact_location = ? WHERE name = ?", moved[1:])

    def location(self, study: str) -> str | None:
        """Return where the study's artifacts go."""
        return (self.artifacts / study).as_uri() if self.artifacts else None

    def experiment(self, study: str) -> str:
        """Return the id of the study's experiment: made if there is none, brought back if it was deleted."""
        if study not in self.experiments:
            found = self.client.get_experiment_by_name(study)
            kind = {"mlflow.experimentKind": "custom_model_development"}  # or its page is that of a language model
            if found and found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            self.experiments[study] = (
                found.experiment_id if found else self.client.create_experiment(study, self.location(study), kind)
            )
        return self.experiments[study]

    def studies(self) -> dict[str, str]:
        """Return the experiments that have runs, by name, the latest first."""
        with self.writing():
            found = self.client.search_experiments(order_by=["last_update_time DESC"])
            return {
                one.name: one.experiment_id
                for one in found
                if self.client.search_runs([one.experiment_id], max_results=1)
            }

    def record(self, folder: Path) -> str:
        """Put the run of this folder into MLflow unless it is there whole, and return MLflow's id of it.

        A run that is in MLflow's bin is there. Raises RunError where the folder holds no whole run.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, ViewType

        with checked_copy(folder) as run, self.writing():
            experiment = self.experiment(run.info["study"])
            key, value = identity(run.folder, run.info)
            whole = f"tags.{key} = '{value}' and attributes.status != 'RUNNING'"
            for found in self.client.search_runs([experiment], whole, ViewType.ALL, max_results=1):
                return str(found.info.run_id)
            start, end = times(run)
            run_id = self.left_running(experiment, run, start)
            if run_id is None:
                run_id = self.client.create_run(experiment, start, tags(run), run_name(run)).info.run_id
            self.client.log_batch(run_id, [Metric(*m) for m in metrics(run)], [Param(*p) for p in params(run).items()])
            inputs = [(Dataset(*dataset), InputTag("mlflow.data.context", dataset[0])) for dataset in datasets(run)]
            self.client.log_inputs(run_id, [DatasetInput(dataset, [tag]) for dataset, tag in inputs])
            self.client.log_artifacts(run_id, str(run.folder))
            self.client.set_terminated(run_id, "FINISHED" if run.finished else "FAILED", end)
        return str(run_id)

    def add(self, folder: Path, files: Sequence[Path]) -> None:
        """Add files to MLflow's run of this folder, which is recorded if it isn't yet."""
        run_id = self.record(folder)
        with self.writing():
            for file in files:
                self.client.log_artifact(run_id, str(file))

    def recorded(self, study: str) -> set[tuple[str, str]]:
        """Return the identities of the study's runs that the store holds whole."""
        from mlflow.entities import ViewType

        with self.writing():
            experiment, whole = self.experiment(study), "attributes.status != 'RUNNING'"
            token, found = None, set()
            while token != "":
                page = self.client.search_runs([experiment], whole, ViewType.ALL, 1000, page_token=token)
                found |= {(key, value) for run in page for key, value in run.data.tags.items() if key in IDENTITIES}
                token = page.token or ""
        return found

    def left_running(self, experiment: str, run: Run, start: int) -> str | None:
        """Return the run that a kill left while this very run was being recorded.

        What else the folder left unfinished, or failed, is gone from it since it was trained again: to MLflow's bin.
        """
        key, value = identity(run.folder, run.info)
        unfinished = f"tags.folder = '{run.folder.name}' and attributes.status != 'FINISHED'"
        same = None
        for found in self.client.search_runs([experiment], unfinished):
            if found.data.tags.get(key) == value and found.info.start_time == start:
                same = str(found.info.run_id)
            else:
                self.client.delete_run(found.info.run_id)
        return same

    def analyze(self) -> None:
        """Let SQLite see what it holds now: without it a table of 10 000 runs takes 13 s to sort, with it 0.1 s."""
        if self.file:
            with self.writing(), closing(sqlite3.connect(self.file)) as database:
                database.executescript("PRAGMA analysis_limit = 1000; ANALYZE")


def why(error: BaseException) -> str:
    """Return in one line why the store failed."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, Timeout):
        return f"another process holds {error.lock_file}"
    if isinstance(cause, StoreError):  # of ``sync.within``, which MLflow has wrapped
        return str(cause)
    if {type(error).__name__, type(cause).__name__} & {"ConnectionError", "ConnectTimeout", "ReadTimeout"}:  # requests'
        return "no answer"
    line = str(error).splitlines()[0].strip() if str(error) else type(error).__name__
    if "out-of-date database schema" in line:
        return "its tables are another MLflow's; 'mlflow db upgrade' and its URI brings older ones up to date"
    if "malformed" in line or "not a database" in line:
        return "the file is damaged; delete it, and dognet-sync makes it anew from the run folders"
    return without_password(line)[:200]


@contextmanager
def checked_copy(folder: Path) -> Iterator[Run]:
    """Yield the run as a copy that is whole and stays so, whatever happens to the folder meanwhile; weights as CSV too.

    Raises RunError where the folder holds no whole run, StoreError where there is no room for the copy.
    """
    with tempfile.TemporaryDirectory(prefix="dognet-") as temporary:
        copy = Path(temporary, folder.resolve().name)
        try:
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.part", "tracked"))
            run = runs.read(copy)
            if run.finished:
                write_weights(copy)
        except RunError as error:
            raise RunError(str(error).replace(str(copy), str(folder))) from None
        except OSError as error:
            for full in (os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)):
                if full in str(error):
                    raise StoreError(f"{tempfile.gettempdir()}: {full}") from error
            raise RunError(f"{folder}: not to be read: it is being written, or there is none") from error
        yield run


def write_weights(folder: Path) -> None:
    """Write the weights as CSV: MLflow's page shows that, and nothing of weights.npz."""
    with np.load(folder / "weights.npz") as weights:
        nodes = ",".join(f"node {k}" for k in range(1, weights["W1"].shape[1] + 1))
        np.savetxt(folder / "W1.csv", weights["W1"], "%.10g", ",", header=nodes, comments="")
        np.savetxt(folder / "W2.csv", weights["W2"], "%.10g", ",", header="output", comments="")


def times(run: Run) -> tuple[int, int]:
    """Return the run's start and end in milliseconds since 1970; of a run that DVC restored, when it was."""
    told = run.info.get("start")
    start = datetime.fromisoformat(told).timestamp() if told else (run.folder / "run.json").stat().st_mtime
    return round(1000 * start), round(1000 * (start + run.info.get("seconds", 0)))


def run_name(run: Run, seed: str = " seed{seed}") -> str:
    """Return what MLflow's page calls the run: what was set, short enough for a legend of many."""
    name = f"h{{hiddenNodes}} s{{stepSize}}{seed} i{{ITERS}}".format(**run.config)
    unusual = {run.config["dtype"], run.config["data"]["source"]} - {"float64", "generated"}
    return " ".join([name, *sorted(unusual)])


def params(run: Run) -> dict[str, str]:
    """Return the run's settings."""
    data = {f"data.{key}": value for key, value in run.config["data"].items() if not key.endswith("sha256")}
    return {key: str(run.config[key]) for key in SETTINGS} | {key: str(value) for key, value in data.items()}


def metrics(run: Run) -> list[tuple[str, float, int, int]]:
    """Return (key, value, milliseconds, iteration) of the curves and, as final/..., of the figures to compare runs by.

    The times are worked out from the run's own, so that recording again adds no row. A loss that is infinite stays
    out: MLflow would make 1.8e308 of it, and its charts reach that far.
    """
    start, end = times(run)
    if not run.finished:
        return []
    curve = run.curve()
    rows = [curve[k] for k in np.linspace(0, len(curve) - 1, min(len(curve), POINTS)).round().astype(int)]
    last = rows[-1][0] or 1
    found: list[tuple[str, float, int, int]] = []
    for iteration, loss, accuracy in rows:
        time = start + (end - start) * iteration // last
        found += [("train/loss", loss, time, iteration), ("train/accuracy", accuracy, time, iteration)]
    figures = {key: value for key, value in run.metrics.items() if isinstance(value, float | int)}
    if "seconds" in run.info:
        figures["seconds"] = run.info["seconds"]
    found += [(f"final/{key}", value, end, 0) for key, value in figures.items()]
    return [row for row in found if math.isfinite(row[1])]


def tags(run: Run) -> dict[str, str]:
    """Return what the run is and where it comes from."""
    info, (key, value) = run.info, identity(run.folder, run.info)
    infinite = [f"from iteration {k}" for k, loss, _ in (run.curve() if run.finished else ()) if math.isinf(loss)]
    told = ("study", "trajectory", "continued_from", "git_commit", "git_dirty", "dvc_revision", "dvc_experiment")
    found = {
        key: value,
        "folder": run.folder.name,
        BUT_SEED: run_name(run, seed=""),
        **{name: info.get(name) for name in (*told, "host", "error")},
        **{f"version.{name}": version for name, version in info["versions"].items()},
        "infinite_loss": infinite[0] if infinite else None,
        "overrides": " ".join(info.get("overrides", ())) or None,
        "data": run.config["data"]["source"],
        "train_sha256": run.config["data"]["train_sha256"] or None,
        "test_sha256": run.info.get("test_sha256"),
        "mlflow.source.name": "dvc repro" if info["study"] == "pipeline" else "dognet",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": info.get("git_commit"),
    }
    return {name: str(value)[:5000] for name, value in found.items() if value is not None}


def datasets(run: Run) -> list[tuple[str, str, str, str]]:
    """Return (name, digest, kind of source, source) of the train and the test images."""
    source = run.config["data"]["source"]
    hashes = {"train": run.config["data"]["train_sha256"], "test": run.info.get("test_sha256")}
    return [
        (part, sha256[:36], "local", json.dumps({"uri": f"data/{source}/{part}.csv"}))
        for part, sha256 in hashes.items()
        if sha256
    ]
