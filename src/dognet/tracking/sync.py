"""Record in MLflow every run that is missing there: each once and completely, however many tries it takes."""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import select
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from dognet.errors import UserError, without_password
from dognet.interrupt import collect_rarely
from dognet.project import python_path
from dognet.runs.folder import RunError, read_manifest, run_folders, written_at
from dognet.runs.run import Manifest
from dognet.tracking import dashboard, entry, store
from dognet.tracking.address import AddressError, RefusedError, StoreError, locate, store_uri
from dognet.tracking.store import Store

PATIENCE = 10  # seconds for a run, once training has ended; for all runs twice as long, and a second more for each run
RETRY = 30  # seconds between two tries beside a training


class Recorder:
    """Records the runs below some folders that MLflow does not have; MLflow is imported only if there are some."""

    def __init__(self, uri: str, root: Path, folders: Sequence[Path], since: float = 0, wait: float = 120) -> None:
        self.uri, self.root, self.folders, self.since, self.wait = uri, root, folders, since, wait
        self.read: dict[Path, int | None] = {}  # by run folder: when the run.json that was read last was written
        self.known: dict[str, Mapping[entry.Identity, float]] = {}  # by study: the runs that MLflow has
        self.missing: dict[Path, Manifest] = {}  # runs that have ended and are not known to be in MLflow
        self.there: dict[Path, Manifest] = {}  # those that MLflow had
        self.added: dict[Path, Manifest] = {}
        self.errors: dict[Path, RunError | RefusedError] = {}  # of runs that are damaged, or that the store refused
        self.progress: list[float] = []  # when the store was opened, then when each run was recorded
        self.trouble: StoreError | None = None  # of the last try

    def catch_up(self, stop: Callable[[], bool] | None = None) -> None:
        """Record the runs that have ended and are not in MLflow; during a training, until ``stop()`` is true."""
        self.trouble = None
        try:
            self.sift(asking=True)
            hidden = True if stop else None  # None: unless standard error is a terminal
            for path in tqdm(list(self.missing), "recording in MLflow", unit="run", leave=False, disable=hidden):
                if stop and stop():
                    return
                self.record(path)
            if not stop:
                self.conclude()
        except StoreError as error:
            self.trouble = error

    def look(self) -> None:
        """Read the manifests that were written since the last look."""
        for path in (path for folder in self.folders for path in run_folders(folder)):
            if self.read.get(path) == (written := written_at(path)):
                continue
            self.read[path] = written
            self.errors.pop(path, None)
            try:
                manifest = read_manifest(path)
                if manifest.status != "trained":
                    self.missing[path] = manifest
            except RunError as error:
                self.errors[path] = error

    def sift(self, *, asking: bool = False) -> None:
        """Look for runs that have ended, and find out which of them MLflow has; import it only if ``asking``."""
        self.look()
        for study in {manifest.study for manifest in self.missing.values()} - self.known.keys():
            known = store.recorded(self.uri, self.root, study)
            if known or asking:
                self.known[study] = known or self.store.recorded(study)
        for path, manifest in list(self.missing.items()):
            if self.until(path, manifest) >= entry.start_time(manifest):
                self.there[path] = self.missing.pop(path)

    def until(self, path: Path, manifest: Manifest) -> float:
        """Return the latest start time at which a run counts as recorded: -1 if MLflow has none, infinity if active."""
        return self.known.get(manifest.study, {}).get(entry.identity(path, manifest), -1)

    @functools.cached_property
    def store(self) -> Store:
        """The store, opened on first use."""
        opened = Store(self.uri, self.root, self.wait)
        self.progress.append(time.monotonic())
        return opened

    def record(self, path: Path) -> None:
        """Record one run; a damaged or refused one does not hold up the others."""
        opened = self.store
        try:
            opened.record(path)
            self.added[path] = self.missing[path]
        except (RunError, RefusedError) as error:
            self.errors[path] = error  # a damaged run counts as unfinished, and is trained again
        del self.missing[path]
        self.progress.append(time.monotonic())

    def conclude(self) -> None:
        """Add the pictures that were drawn since the start, and bring the dashboards of changed studies up to date."""
        for path in [path for path in self.read if self.since and path not in self.errors]:
            with suppress(OSError, RunError):  # it is being trained again: its pictures will come
                if any(picture.stat().st_mtime > self.since for picture in store.pictures(path)):
                    self.store.add_pictures(path)
        for study in {manifest.study for manifest in self.added.values()}:
            dashboard.save(self.store, study)

    def faults(self) -> list[str]:
        """Return a line for the runs that are not recorded, and one for each reason why some were refused."""
        self.sift()
        new = [one for one in self.missing.values() if one.study in self.known or self.is_new(one)]
        lines, refused = [], defaultdict(list)
        if self.trouble and new:
            runs, them = ("run is", "it") if len(new) == 1 else ("runs are", "them")
            way_out = "" if isinstance(self.trouble, AddressError) else f": `dognet sync` records {them}"
            lines.append(f"{len(new)} {runs} not recorded in MLflow ({self.trouble}){way_out}")
        for path, error in self.errors.items():
            if isinstance(error, RefusedError):
                refused[str(error)].append(path.name)
        for reason, names in refused.items():
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            lines.append(f"refused ({reason}), `dognet sync` tries again: {'; '.join(names[:5])}{more}")
        return lines

    def is_new(self, manifest: Manifest) -> bool:
        """Return whether the run was trained since the start."""
        return entry.start_time(manifest) >= 1000 * self.since  # an unknown start is 0


# --- beside a training


def has_all(study: str, tracking_uri: str | None, root: Path) -> bool:
    """Return True if nothing of a study is left to record; False if something is, or if only MLflow could tell."""
    with suppress(AddressError):
        uri = locate(tracking_uri, root)
        if uri == "none":
            return True
        recorder = Recorder(uri, root, [root / "experiments" / study])
        recorder.sift()
        return not recorder.missing
    return False


@contextmanager
def following(study: str, tracking_uri: str | None, root: Path) -> Iterator[None]:
    """Record the study's runs as each ends, in a second process, so that training never waits for MLflow.

    At the end, or when a run fails, it waits for the last ones and prints one line on standard error about what could
    not be recorded; it raises nothing itself. With the tracking_uri ``none`` nothing is recorded.
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
    command = [sys.executable, "-P", "-m", "dognet.tracking.sync", str(folder), str(time.time())]
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": python_path(root)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, cwd=root, env=environment, start_new_session=True
    ) as child:  # a session of its own: Ctrl-C is for the training
        try:
            yield
            child.communicate()  # closes its standard input, and waits
        except UserError:  # nothing was trained
            raise
        except Exception:  # whatever it is, ``run_once`` has saved a failed run: that is recorded too
            child.communicate()
            raise
        finally:
            child.terminate()  # harmless at any moment: the next command completes what it leaves
    if child.returncode:
        print("dognet: recording in MLflow stopped early: `dognet sync` records what is missing", file=sys.stderr)


def follow(recorder: Recorder) -> None:
    """Record runs as they end, until standard input is closed and all are recorded; ``report`` ends this process."""
    done = threading.Event()
    reporting = threading.Thread(target=report, args=(recorder, done), daemon=True)
    reporting.start()
    store.quiet()
    collect_rarely()
    threading.Thread(target=importlib.import_module, args=("mlflow",), daemon=True).start()  # while runs are trained
    while training(RETRY if recorder.trouble else 1 + len(recorder.read) / 1000):  # 1000 run folders take 30 ms
        recorder.catch_up(stop=lambda: not training())
    if not recorder.trouble:
        recorder.catch_up()
    done.set()
    reporting.join()


def training(seconds: float | None = 0) -> bool:
    """Wait up to ``seconds``, None: until the training ends; return whether it still runs, so that stdin is open."""
    return not select.select([sys.stdin], [], [], seconds)[0]


def report(recorder: Recorder, done: threading.Event) -> NoReturn:
    """Wait for the end of the training and of the recording, print what is not recorded, and end this process.

    It ends whatever MLflow is doing: a store that is too slow is not waited for.
    """
    training(None)
    ended = time.monotonic()
    while not done.wait(0.2) and not is_slow(recorder, ended):
        pass
    lines = recorder.faults()
    repeated = sum(map(recorder.is_new, recorder.there.values()))
    if repeated and not recorder.trouble:
        runs = "the repeated run" if repeated == 1 else f"{repeated} repeated runs"
        lines.append(f"MLflow already has {runs}, with the same digest and so the same result")
    print(*(f"dognet: {line}\n" for line in lines), sep="", end="", file=sys.stderr, flush=True)
    os._exit(0)


def is_slow(recorder: Recorder, ended: float) -> bool:
    """Return whether the store has been too slow since training ended; if so, that is the recorder's trouble."""
    if not recorder.progress:  # the store is not open yet, which has limits of its own
        return False
    now, begin = time.monotonic(), max(ended, recorder.progress[0])
    count = sum(recorded > begin for recorded in recorder.progress)
    if now < min(begin + 2 * PATIENCE + count, max(begin, recorder.progress[-1]) + PATIENCE):
        return False
    recorder.trouble = StoreError(f"{without_password(recorder.uri)}: slow: {count} recorded in {now - begin:.0f} s")
    return True


# --- the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dognet sync``."""
    parser.add_argument("folders", nargs="*", type=Path, help="run folders, or folders that contain run folders")


def command(options: argparse.Namespace, root: Path) -> None:
    """Record the runs that MLflow does not have yet, from the given folders or from experiments/."""
    uri = store_uri(options.tracking_uri, root)
    if uri == "none":
        raise AddressError("tracking_uri is none: nothing is recorded")
    if absent := [folder for folder in options.folders if not folder.is_dir()]:
        raise RunError(f"{absent[0]}: no such folder")
    recorder = Recorder(uri, root, options.folders or [root / "experiments"])
    recorder.catch_up()
    for fault in sorted(str(error) for error in recorder.errors.values() if isinstance(error, RunError)):
        print(f"dognet sync: {fault}: skipped", file=sys.stderr)
    if not recorder.missing:
        deleted = sum(recorder.until(*run) < float("inf") for run in recorder.there.items())
        hint = f", {deleted} of them deleted in MLflow (`mlflow runs restore` brings one back)" if deleted else ""
        print(f"{len(recorder.added)} recorded, {len(recorder.there)} were already there{hint}")
    if faults := recorder.faults():
        raise StoreError("\n".join(faults))


if __name__ == "__main__":  # the second process of ``following``
    study_folder = Path(sys.argv[1])
    project = study_folder.parents[1]
    follow(Recorder(os.environ["MLFLOW_TRACKING_URI"], project, [study_folder], float(sys.argv[2]), 2 * PATIENCE))
