"""The MLflow store: records each run folder once and whole, whatever interrupted an earlier recording.

A run in MLflow is RUNNING only while it is being recorded. The tag that identifies it is written last: a run without
this tag is incomplete, and recording its folder again completes it without adding a row twice.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from dognet.errors import UserError
from dognet.runs.digest import hash_of
from dognet.runs.folder import RunError, read_run
from dognet.runs.run import Run
from dognet.study import find_study
from dognet.tracking import entry
from dognet.tracking.address import (
    REBUILD,
    AddressError,
    RefusedError,
    StoreError,
    artifact_location,
    failure,
    sqlite_file,
)

if TYPE_CHECKING:
    from mlflow.entities import Run as Entry

QUIET = {  # for MLflow, before it is imported
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the URL may hold a password
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is down costs 2 s; by default 245 s
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds, for one that takes requests and never answers; by default 120
    "PGCONNECT_TIMEOUT": "5",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_UV_AUTO_DETECT": "false",  # or a model gets the uv.lock of the current folder
}
FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))  # messages of a full disk
SMALL = 10_000  # weights; larger arrays are not copied as CSV, which nobody would read
NOTE = "mlflow.note.content"  # the tag that MLflow's page shows as the description


def recorded(uri: str, root: Path, study: str) -> dict[entry.Identity, float] | None:
    """Return the same as ``Store.recorded``, without MLflow; None if that fails or the study was deleted or moved."""
    query = """SELECT key, value, CASE runs.lifecycle_stage WHEN 'active' THEN 9e999 ELSE start_time END
        FROM tags JOIN runs USING (run_uuid) JOIN experiments USING (experiment_id)
        WHERE key IN ('digest', 'failed') AND status != 'RUNNING' AND experiments.name = ?
        AND experiments.lifecycle_stage = 'active' AND artifact_location = ? ORDER BY 3"""
    rows = look_up(uri, query, study, artifact_location(uri, root, study))
    return {(key, value): start for key, value, start in rows} or None


def studies_of(uri: str) -> dict[str, str]:
    """Return the same as ``Store.studies``, without MLflow; an empty dict if that fails or there are none."""
    query = """SELECT name, CAST(experiment_id AS TEXT) FROM experiments WHERE lifecycle_stage = 'active'
        AND experiment_id IN (SELECT experiment_id FROM runs WHERE lifecycle_stage = 'active')
        ORDER BY last_update_time DESC"""
    return dict(look_up(uri, query))


def look_up(uri: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Query an SQLite store directly, because importing MLflow takes 2.7 s, and return the rows.

    There are none for another kind of store, or if the file is absent or damaged: then only MLflow can answer.
    """
    file = sqlite_file(uri)
    if not file or not file.is_file():
        return []
    try:
        with closing(sqlite3.connect(file)) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.Error:
        return []  # opening the store says what is wrong with it


class Store:
    """An MLflow store, opened for recording; an SQLite file is made where there is none.

    Only one process writes at a time, because SQLite would lose rows otherwise; each waits up to ``wait`` seconds.
    Every failure is raised as StoreError.
    """

    def __init__(self, uri: str, root: Path, wait: float = 120) -> None:
        if uri == "none":
            raise AddressError("tracking_uri is none")
        quiet()
        from mlflow import MlflowClient
        from mlflow.entities import ViewType
        from sqlalchemy import NullPool, create_engine

        self.uri, self.root, self.file = uri, root, sqlite_file(uri)
        if self.file and self.file.is_dir():
            raise AddressError(f"{uri}: {self.file} is a folder: name a file, as in sqlite:///mlflow.db")
        if self.file and set("%?") & set(str(self.file)):
            raise AddressError(
                f"{self.file}: MLflow can't open a SQLite file with % or ? in its path: set tracking_uri"
            )
        locked = self.file or Path(tempfile.gettempdir(), f"dognet-{os.getuid()}-{hash_of({'uri': uri})}")
        self.lock = FileLock(f"{locked}.lock", timeout=wait, mode=0o666)  # less the umask, for a group
        self.experiments: dict[str, str] = {}  # ids by study
        with self.writing():
            if self.file:
                prepare(self.file)
            elif not uri.startswith("http"):  # MLflow itself would try a silent database for minutes
                create_engine(uri, poolclass=NullPool).connect().close()
            self.client = MlflowClient(tracking_uri=uri)
            for one in self.client.search_experiments(ViewType.ALL):  # a store that fails must fail here
                place, here = one.artifact_location or "", artifact_location(uri, root, one.name)
                if self.file and place.endswith(f"/mlartifacts/{one.name}") and place != here:
                    raise StoreError(
                        f"{self.file} was moved, MLflow looks for its artifacts in the old folder: {REBUILD}"
                    )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's write lock; raise any failure as StoreError."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self.lock:
                yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
            raise failure(self.uri, error) from error

    def experiment(self, study: str) -> str:
        """Return the id of the study's experiment: made if there is none, restored if it was deleted.

        The study's question becomes its description, unless it has one.
        """
        if study in self.experiments:
            return self.experiments[study]
        found = self.client.get_experiment_by_name(study)
        if found is None:
            kind = {"mlflow.experimentKind": "custom_model_development"}  # or its page is one for language models
            place = artifact_location(self.uri, self.root, study)
            found = self.client.get_experiment(self.client.create_experiment(study, place, kind))
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        if NOTE not in found.tags:
            with suppress(UserError):  # a study without a file, or with a broken one
                self.client.set_experiment_tag(found.experiment_id, NOTE, find_study(study, self.root).question)
        return self.experiments.setdefault(study, found.experiment_id)

    def studies(self) -> dict[str, str]:
        """Return the experiments that have runs, by name, the latest first."""
        with self.writing():
            found = self.client.search_experiments(order_by=["last_update_time DESC"])
            ids = {one.name: one.experiment_id for one in found}
            return {name: one for name, one in ids.items() if self.client.search_runs([one], max_results=1)}

    def search(self, study: str, query: str) -> Iterator[Entry]:
        """Yield MLflow's runs of a study that match, including deleted ones."""
        from mlflow.entities import ViewType

        token = None
        while token != "":
            page = self.client.search_runs([self.experiment(study)], query, ViewType.ALL, 1000, page_token=token)
            yield from page
            token = page.token or ""

    def recorded(self, study: str) -> dict[entry.Identity, float]:
        """Return the runs of a study that are completely recorded, each with its ``until``."""
        found: dict[entry.Identity, float] = {}
        with suppress(RefusedError), self.writing():  # recording says which runs that concerns
            for run in self.search(study, "attributes.status != 'RUNNING'"):
                for tag in {"digest", "failed"} & run.data.tags.keys():
                    key = tag, run.data.tags[tag]
                    found[key] = max(until(run), found.get(key, 0))
        return found

    def record(self, folder: Path) -> str:
        """Record the run of a folder unless the store has all of it, and return MLflow's id of it.

        Raises RunError if the folder holds no complete run, RefusedError if the store accepts others but not this one.
        """
        with self.writing(), checked_copy(folder) as run:  # no room for the copy is a StoreError too
            if whole := self.find_whole(run):
                return whole
            experiment, name = self.experiment(run.manifest.study), entry.run_name(run)
            run_id = (
                self.find_unfinished(run)
                or self.client.create_run(experiment, entry.times(run)[0], entry.tags(run), name).info.run_id
            )
            try:
                with self.writing():
                    self.fill(run_id, run)
            except RefusedError:
                with suppress(StoreError), self.writing():
                    self.client.set_terminated(run_id, "FAILED")  # it has no identity yet, so it is tried again
                raise
        return run_id

    def find_whole(self, run: Run) -> str | None:
        """Return MLflow's id of the run if it is completely recorded, even if it was deleted there since."""
        tag, value = entry.identity(run.folder, run.manifest)
        whole = self.search(run.manifest.study, f"tags.{tag} = '{value}' and attributes.status != 'RUNNING'")
        start = entry.start_time(run.manifest)
        return next((str(found.info.run_id) for found in whole if until(found) >= start), None)

    def find_unfinished(self, run: Run) -> str | None:
        """Return MLflow's id of the run if an interrupted or refused recording left it incomplete.

        Other unfinished or failed runs of the folder are deleted, because this run has replaced them.
        """
        same = None
        query = f"tags.folder = '{entry.folder_tag(run.folder)}' and attributes.status != 'FINISHED'"
        for found in self.client.search_runs([self.experiment(run.manifest.study)], query):  # without deleted ones
            if found.info.start_time == entry.times(run)[0]:
                same = str(found.info.run_id)
            else:
                self.client.delete_run(found.info.run_id)
        return same

    def fill(self, run_id: str, run: Run) -> None:
        """Record the whole folder in MLflow's run; its identity and its end are written last."""
        from mlflow.entities import Param, RunTag

        self.client.log_inputs(run_id, entry.datasets(run))
        self.client.log_artifacts(run_id, str(run.folder))
        params = [Param(name, value) for name, value in entry.params(run).items()]
        identity = RunTag(*entry.identity(run.folder, run.manifest))
        self.client.log_batch(run_id, entry.metrics(run), params, [identity])
        self.client.set_terminated(run_id, "FINISHED" if run.finished else "FAILED", entry.times(run)[1])

    def add_pictures(self, folder: Path) -> str:
        """Record the run of a folder, add the pictures that were drawn since, and return MLflow's id of it."""
        run_id = self.record(folder)
        with self.writing():
            there = {file.path: file.file_size for file in self.client.list_artifacts(run_id)}
            for picture in pictures(folder):
                if there.get(picture.name) != picture.stat().st_size:
                    self.client.log_artifact(run_id, str(picture))
        return run_id


def until(run: Entry) -> float:
    """Return the latest start at which a run counts as this one: any, or for a deleted run its own (a later is new)."""
    return float("inf") if run.info.lifecycle_stage == "active" else run.info.start_time


def quiet() -> None:
    """Set MLflow's environment variables before it is imported; variables that are set already stay."""
    import urllib3

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # or Ctrl-C in a query prints a traceback
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # who sets MLFLOW_TRACKING_INSECURE_TLS knows


def prepare(file: Path) -> None:
    """Make the SQLite file under a temporary name if there is none; let readers in while it is written.

    With ANALYZE, SQLite sorts a table of 10 000 runs in 0.1 s instead of 13 s; it takes 3 ms.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if not file.is_file() or file.stat().st_size == 0:
        part = file.with_name(f"{file.name}.part")
        part.unlink(missing_ok=True)
        place = (file.parent / "mlartifacts").as_uri()  # MLflow puts it into SQL text without escaping its quotes
        SqlAlchemyStore(f"sqlite:///{part}", place).engine.dispose()  # type: ignore[no-untyped-call]  # MLflow's own
        for rest in ("-wal", "-shm"):  # of a file that was deleted: SQLite would read them as the new one's
            Path(f"{file}{rest}").unlink(missing_ok=True)
        part.replace(file)
    with closing(sqlite3.connect(file, timeout=5)) as database:  # MLflow itself waits 20 s for a locked file
        database.executescript("PRAGMA journal_mode = WAL; PRAGMA analysis_limit = 1000; ANALYZE")


def pictures(folder: Path) -> list[Path]:
    """Return the pictures in a run folder."""
    return sorted(path for path in folder.glob("*") if path.suffix in (".svg", ".png"))


@contextmanager
def checked_copy(folder: Path) -> Iterator[Run]:
    """Yield the run as a verified copy, which stays whole whatever happens to the folder meanwhile.

    Raises RunError where the folder holds no whole run, StoreError where there is no room for the copy.
    """
    with tempfile.TemporaryDirectory(prefix="dognet-") as temporary:
        copy = Path(temporary, folder.absolute().name)
        try:
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.part", "tracked"))
            run = read_run(copy)
            if run.finished:
                write_small_arrays(copy)
        except RunError as error:
            raise RunError(str(error).replace(str(copy), str(folder))) from None
        except OSError as error:
            if any(full in str(error) for full in FULL):
                raise StoreError(f"{tempfile.gettempdir()}: {FULL[0]}") from error
            raise RunError(f"{folder}: can't be read: it is being written, or there is none") from error
        yield run


def write_small_arrays(folder: Path) -> None:
    """Write the arrays in weights.npz as CSV too: MLflow's page shows CSV files, but not npz files."""
    with np.load(folder / "weights.npz") as arrays:
        for name, array in arrays.items():
            if array.ndim == 2 and array.size <= SMALL and array.dtype.kind == "f":
                header = ",".join(f"column {k}" for k in range(1, array.shape[1] + 1))
                np.savetxt(folder / f"{name}.csv", array, "%.10g", ",", header=header, comments="")
