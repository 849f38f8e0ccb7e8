"""Record in MLflow every run that is missing there: each once, whole, in any number of tries."""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from dognet.project import python_path
from dognet.runs.folder import RunError, read_manifest, run_folders
from dognet.runs.run import Manifest
from dognet.tracking import dashboard, entry, store
from dognet.tracking.address import AddressError, RefusedError, StoreError, locate, without_password
from dognet.tracking.entry import Identity
from dognet.tracking.store import Store

PATIENCE = 10  # seconds for a run, once training has ended; for all runs twice as long, and a second more for each run
URI_HELP = "MLflow's store, if not the one of the project's settings"


def unrecorded(count: int, reason: str | StoreError) -> str:
    """Return the sentence for runs that MLflow does not have."""
    runs, them = ("run is", "it") if count == 1 else ("runs are", "them")
    way_out = "" if isinstance(reason, AddressError) else f": `dognet sync` records {them}"
    return f"{count} {runs} not recorded in MLflow ({reason}){way_out}"


def refusals(refused: Mapping[Path, str]) -> str:
    """Return a line for each reason for which MLflow's server turned down runs, with their names."""
    lines = []
    for reason in dict.fromkeys(refused.values()):
        names = [path.name for path in refused if refused[path] == reason]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        lines.append(f"refused ({reason}), `dognet sync` tries again: {'; '.join(names[:5])}{more}")
    return "\n".join(lines)


def store_uri(tracking_uri: str | None, root: Path) -> str:
    """Return the URI of the store that is named, else of the one in the project's settings."""
    from dognet.conf import compose

    return locate(tracking_uri or compose(root).tracking_uri, root)


class Recorder:
    """Records the runs below a folder that MLflow does not have; MLflow is imported only if there are some."""

    def __init__(
        self, uri: str, root: Path, questions: Mapping[str, str] | None = None, since: float = 0, wait: float = 120
    ) -> None:
        self.uri, self.root, self.questions, self.since, self.wait = uri, root, questions, since, wait
        self.store: Store | None = None
        self.known: dict[str, dict[Identity, float]] = {}  # by study: the runs that MLflow has
        self.read: dict[Path, tuple[int, Manifest]] = {}  # by run folder: when run.json was written, its content
        self.damaged: dict[Path, str] = {}
        self.refused: dict[Path, str] = {}
        self.added: set[Path] = set()  # run folders that were recorded
        self.changed: set[str] = set()  # studies with new runs, of which their dashboards don't know yet
        self.opened = 0.0  # when the store was opened
        self.progress = 0.0  # when a run was recorded last
        self.trouble: StoreError | None = None  # of the last try
        self.failed = 0.0  # when that was

    def catch_up(self, folder: Path, stop: Callable[[], bool] | None = None) -> None:
        """Record what has ended below the folder and is not in MLflow; beside a training, until ``stop`` holds."""
        self.trouble = None
        try:
            if stop:
                self.open()  # MLflow takes seconds to import: meanwhile the first runs are trained
            missing = self.missing(folder)
            hidden = None if len(missing) > 3 and not stop else True  # None: where standard error is a terminal
            for path in tqdm(missing, "recording in MLflow", unit="run", leave=False, disable=hidden):
                if stop and stop():
                    return
                self.record(path)
        except StoreError as error:
            self.trouble, self.failed = error, time.monotonic()

    def record(self, path: Path) -> None:
        """Record one run; a damaged or refused one does not hold up the others."""
        manifest = self.read[path][1]
        try:
            self.open().record(path)
        except RunError as error:
            self.damaged[path] = str(error)  # so it counts as unfinished, and is trained again
            return
        except RefusedError as error:
            self.refused[path] = str(error)
            return
        self.known[manifest.study][entry.identity(path, manifest)] = float("inf")
        self.changed.add(manifest.study)
        self.added.add(path)
        self.progress = time.monotonic()

    def conclude(self, folder: Path) -> None:
        """Add the pictures that were drawn since the start, and bring the dashboards of changed studies up to date."""
        try:
            for path in list(self.read) if self.since else ():
                if path not in self.refused and self.has_new_pictures(path):
                    self.open().add_pictures(path)
            if self.changed:
                self.open().analyze()
            while self.changed:
                dashboard.save(self.open(), self.changed.pop())
        except StoreError as error:
            self.trouble = error
        except (OSError, RunError):
            pass  # the folder is being trained again: its pictures will come

    def has_new_pictures(self, path: Path) -> bool:
        """Return whether a picture of the run was drawn since the start."""
        return any(picture.stat().st_mtime > self.since for picture in store.pictures(path))

    def open(self) -> Store:
        """Return the store, opened."""
        if self.store is None:
            try:
                self.store = Store(self.uri, self.root, self.questions, self.wait)
            except RefusedError as error:
                raise StoreError(str(error)) from error  # whoever is turned down at the door gets nothing recorded
            self.progress = self.opened = time.monotonic()
        return self.store

    def missing(self, folder: Path) -> list[Path]:
        """Return the run folders whose run MLflow does not have, and neither refused nor found damaged."""
        found = []
        for path, manifest in self.ended(folder):
            if manifest.study not in self.known:
                self.known[manifest.study] = self.ask(manifest.study)
            if self.lacks(path, manifest) and path not in self.refused and path not in self.damaged:
                found.append(path)
        return found

    def lacks(self, path: Path, manifest: Manifest) -> bool:
        """Return whether MLflow does not have the run; one deleted there counts until it is trained again."""
        return self.until(path, manifest) < entry.start_time(manifest)

    def until(self, path: Path, manifest: Manifest) -> float:
        """Return until which start a run counts as MLflow's: infinity for an active one, -1 where it has none."""
        return self.known.get(manifest.study, {}).get(entry.identity(path, manifest), -1)

    def ask(self, study: str) -> dict[Identity, float]:
        """Return the runs of a study that MLflow has."""
        known = store.recorded(self.uri, self.root, study)
        try:
            return self.open().recorded(study) if known is None else known
        except RefusedError:
            return {}  # recording says which runs that concerns

    def ended(self, folder: Path) -> Iterator[tuple[Path, Manifest]]:
        """Yield each run folder below ``folder`` whose run has ended, with its manifest; each is read once."""
        for path in run_folders(folder):
            try:
                written = (path / "run.json").stat().st_mtime_ns
                if path not in self.read or self.read[path][0] != written:
                    self.read[path] = written, read_manifest(path)
                    self.damaged.pop(path, None)
                    self.refused.pop(path, None)
            except (OSError, RunError) as error:
                self.damaged[path] = str(error)
                continue
            if self.read[path][1].status != "trained":
                yield path, self.read[path][1]

    def count_missing(self, folder: Path) -> int:
        """Return how many runs MLflow does not have; where it never answered, how many ended since the start."""
        return sum(
            self.lacks(path, manifest)
            if manifest.study in self.known
            else (path / "run.json").stat().st_mtime > self.since
            for path, manifest in self.ended(folder)
            if path not in self.refused
        )

    def is_complete(self, folder: Path) -> bool:
        """Return whether an SQLite store has every run and picture, which is known without importing MLflow."""
        for path, manifest in self.ended(folder):
            if manifest.study not in self.known:
                known = store.recorded(self.uri, self.root, manifest.study)
                if known is None:
                    return False
                self.known[manifest.study] = known
            if self.lacks(path, manifest) or self.has_new_pictures(path):
                return False
        return True

    def repeated(self, folder: Path) -> int:
        """Return how many runs were trained since the start that MLflow had already."""
        new = (path for path, manifest in self.ended(folder) if entry.start_time(manifest) > 1000 * self.since)
        return sum(path not in self.added and path not in self.refused for path in new)


# --- beside a training


@contextmanager
def following(study: str, tracking_uri: str | None, root: Path, question: str = "") -> Iterator[None]:
    """Record the study's runs as each ends, in a second process, so that training never waits for MLflow.

    At the end it waits for the last ones and prints one line on standard error about what could not be recorded; it
    raises nothing. With the tracking_uri ``none`` nothing is recorded.
    """
    try:
        uri = locate(tracking_uri, root)
    except AddressError as error:
        print(f"dognet: nothing is recorded in MLflow: {error}", file=sys.stderr)
        uri = "none"
    if uri == "none":
        yield
        return
    folder = root / "experiments" / study
    command = [sys.executable, "-P", "-m", "dognet.tracking.sync", str(folder), str(time.time()), question]
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": python_path(root)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, cwd=root, env=environment, start_new_session=True
    ) as child:  # a session of its own: Ctrl-C is for the training
        try:
            yield
            child.communicate()  # closes its standard input, and waits
        finally:
            child.terminate()  # harmless at any moment: the next command completes what it leaves
    if child.returncode:
        print("dognet: recording in MLflow broke off: `dognet sync` records what is missing", file=sys.stderr)


def follow(folder: Path, recorder: Recorder) -> None:
    """Record the runs below the folder as they end, until standard input is closed and all are recorded."""

    def training(seconds: float = 0) -> bool:
        return not select.select([sys.stdin], [], [], seconds)[0]

    reporting = threading.Lock()
    threading.Thread(target=give_up, args=(folder, recorder, reporting), daemon=True).start()
    recorder.catch_up(folder, stop=lambda: not training())
    while training(1 + len(recorder.read) / 1000):  # seconds: a look at 1000 run folders takes some 30 ms
        if not recorder.trouble:
            recorder.catch_up(folder, stop=lambda: not training())
    if not recorder.trouble or time.monotonic() - recorder.failed > 30:  # a server may have come back
        recorder.catch_up(folder)
    if not recorder.trouble:
        recorder.conclude(folder)
    if reporting.acquire(blocking=False):
        report(folder, recorder)


def give_up(folder: Path, recorder: Recorder, reporting: threading.Lock) -> None:
    """End this process once training has ended and there is nothing to record, or the store is too slow to wait for."""
    select.select([sys.stdin], [], [])
    if recorder.store is None and recorder.is_complete(folder) and reporting.acquire(blocking=False):
        report(folder, recorder)
        os._exit(0)  # in the middle of importing MLflow
    ended, before = time.monotonic(), len(recorder.added)
    while True:
        time.sleep(0.2)
        now, begin, count = time.monotonic(), max(ended, recorder.opened), len(recorder.added) - before
        slow = now > begin + 2 * PATIENCE + count or now > max(begin, recorder.progress) + PATIENCE
        if recorder.store is not None and slow and reporting.acquire(blocking=False):
            address = without_password(recorder.uri)
            recorder.trouble = StoreError(f"{address}: slow: {count} recorded in {now - begin:.0f} s")
            report(folder, recorder)
            os._exit(0)


def report(folder: Path, recorder: Recorder) -> None:
    """Print on standard error what is not recorded, and why."""
    lines = []
    if recorder.trouble and (count := recorder.count_missing(folder)):
        lines.append(unrecorded(count, recorder.trouble))
    elif not recorder.trouble and (count := recorder.repeated(folder)):
        runs = "the repeated run" if count == 1 else f"{count} repeated runs"
        lines.append(f"MLflow has {runs} already, with the same digest and so the same result")
    lines += refusals(recorder.refused).splitlines()
    print(*(f"dognet: {line}\n" for line in lines), sep="", end="", file=sys.stderr, flush=True)


# --- the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dognet sync``."""
    parser.add_argument("folders", nargs="*", type=Path, help="run folders, or folders that hold some")
    parser.add_argument("--tracking-uri", metavar="URI", help=URI_HELP)
    parser.add_argument("--rebuild", action="store_true", help="make mlflow.db anew; the old one becomes mlflow.db.old")


def command(options: argparse.Namespace, root: Path, questions: Mapping[str, str] | None = None) -> None:
    """Record in MLflow every run below the folders, or below experiments/: each once, whole."""
    uri = store_uri(options.tracking_uri, root)
    if uri == "none":
        raise AddressError("tracking_uri is none: nothing is recorded")
    if absent := [folder for folder in options.folders if not folder.is_dir()]:
        raise RunError(f"{absent[0]}: no such folder")
    if options.rebuild:
        store.rebuild(uri)
    recorder = Recorder(uri, root, questions)
    folders = options.folders or [root / "experiments"]
    for folder in folders:
        recorder.catch_up(folder)
        if not recorder.trouble:
            recorder.conclude(folder)
        if recorder.trouble:
            raise StoreError(unrecorded(recorder.count_missing(folder), recorder.trouble))
    for fault in sorted(recorder.damaged.values()):
        print(f"dognet sync: {fault}: skipped", file=sys.stderr)
    print(summary(recorder, folders))
    if recorder.refused:
        raise StoreError(refusals(recorder.refused))


def summary(recorder: Recorder, folders: list[Path]) -> str:
    """Return in a line how many runs were recorded, and how many were there before."""
    known = {path: recorder.until(path, manifest) for folder in folders for path, manifest in recorder.ended(folder)}
    there = [until for path, until in known.items() if until >= 0 and path not in recorder.added]
    deleted = sum(until < float("inf") for until in there)
    hint = f", {deleted} of them deleted in MLflow (`mlflow runs restore` brings one back)" if deleted else ""
    return f"{len(recorder.added)} recorded, {len(there)} were there{hint}"


if __name__ == "__main__":  # the second process of ``following``
    study_folder, since, question = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    described = {study_folder.name: question} if question else {}
    project = study_folder.parents[1]
    follow(study_folder, Recorder(os.environ["MLFLOW_TRACKING_URI"], project, described, since, 2 * PATIENCE))
