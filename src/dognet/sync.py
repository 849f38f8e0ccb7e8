"""Recording what is over: beside the training, in a process of its own, and later with the command ``dognet-sync``."""

from __future__ import annotations

import argparse
import gc
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dognet import config, runs, tracking, views
from dognet.config import ConfigError
from dognet.interrupt import interruptible
from dognet.runs import RunError
from dognet.tracking import Store, StoreError

PATIENCE = 10  # seconds for a run, where training waits; at its end it waits twice as long, and a second a run more
URI_HELP = "MLflow's store, if not the one of the project's settings"


class Recorder:
    """Records the runs below a folder that MLflow lacks; only then is MLflow imported and its store opened."""

    def __init__(self, uri: str, root: Path, since: float = 0, patience: int = 0) -> None:
        self.uri, self.root, self.since = uri, root, since
        self.patience = patience  # with a slow store, in seconds; 0: without end
        self.store: Store | None = None
        self.known: dict[str, set[tuple[str, str]]] = {}  # study: the runs it has whole in MLflow
        self.trouble = ""  # why the store failed when it was last tried
        self.damaged: set[str] = set()  # what is wrong with the run folders that were passed by
        self.added: set[str] = set()  # studies that have runs which their views don't know yet

    def catch_up(self, folder: Path, training: Callable[[], bool] | None = None) -> int:
        """Record what is over below the folder and not in MLflow yet; return how many runs it was.

        While ``training`` the store is opened ahead, no progress is shown, and the views are left for later.
        """
        self.trouble = ""
        count, began = 0, time.monotonic()
        try:
            lacking = [(path, info) for path, info in self.over(folder) if not self.knows(path, info)]
            if training or lacking:
                self.open()
            hidden = None if len(lacking) > 3 and not training else True  # None: unless on a terminal
            for path, info in tqdm(lacking, "recording in MLflow", unit="run", leave=False, disable=hidden):
                if training and not training():
                    break
                seconds = time.monotonic() - began
                if self.patience and not training and seconds > 2 * self.patience + count:
                    slow = f"{tracking.without_password(self.uri)}: slow: {count} recorded in {seconds:.0f} s"
                    raise StoreError(slow)
                try:
                    with within(self.patience):
                        self.open().record(path)
                except RunError as error:
                    self.damaged.add(str(error))  # so it counts as unfinished, and is trained again
                    continue
                self.known[info["study"]].add(tracking.identity(path, info))
                self.added.add(info["study"])
                count += 1
            if self.added and not training:
                self.open().analyze()
                while self.added:
                    views.save(self.open(), self.added.pop())
        except StoreError as error:
            self.trouble = str(error)
        return count

    def open(self) -> Store:
        """Return the store, opened."""
        self.store = self.store or Store(self.uri, self.root, wait=2 * self.patience or 120)
        return self.store

    def knows(self, folder: Path, info: dict[str, Any]) -> bool:
        """Return whether the run of this run.json is in MLflow."""
        study = info["study"]
        if study not in self.known:
            known = tracking.recorded(self.uri, study)
            self.known[study] = self.open().recorded(study) if known is None else known
        return tracking.identity(folder, info) in self.known[study]

    def missing(self, folder: Path) -> int:
        """Return how many runs MLflow lacks; where the store never answered, how many ended after ``since``."""
        return sum(
            not self.knows(path, info)
            if info["study"] in self.known
            else (path / "run.json").stat().st_mtime > self.since
            for path, info in self.over(folder)
        )

    def over(self, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield each run folder below ``folder`` whose run is over, and its run.json, in the order of their names."""
        for path in sorted(folder.rglob("run.json")):
            try:
                info = runs.summary(path.parent)
            except RunError as error:
                self.damaged.add(str(error))
                continue
            if info.get("status") in ("finished", "failed"):
                yield path.parent, info


def store_uri(tracking_uri: str | None, root: Path) -> str:
    """Return the store that is named, else the one of the project's settings."""
    in_conf = config.load(root).tracking_uri if (root / "conf" / "config.yaml").is_file() else None
    return tracking.locate(tracking_uri or in_conf, root)


def follow(folder: Path, recorder: Recorder) -> None:
    """Record the runs below the folder as they come to be over, until standard input ends and all are recorded.

    A store that failed is tried once more in the end.
    """

    def training(seconds: float = 0) -> bool:
        return not select.select([sys.stdin], [], [], seconds)[0]

    gc.disable()  # or it looks again and again through all that MLflow's import makes, which stays
    recorder.catch_up(folder, training)
    gc.freeze()
    gc.enable()
    os.nice(5)  # from now on the cores are for training first
    while training(seconds=1):
        if not recorder.trouble:
            recorder.catch_up(folder, training)
    recorder.catch_up(folder)
    if recorder.trouble:
        count = recorder.missing(folder)
        unknown = f"MLflow can't be asked for these runs ({recorder.trouble}): dognet-sync records what it lacks"
        print(f"dognet: {tracking.lacking(count, recorder.trouble) if count else unknown}", file=sys.stderr)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise StoreError if this takes longer; 0 is no limit."""

    def too_slow(*_: object) -> None:
        raise StoreError(f"slow: a run not recorded within {seconds} s")

    signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@contextmanager
def following(study: str, tracking_uri: str | None, root: Path) -> Iterator[None]:
    """Meanwhile record the study's runs as each is over, in a process of its own: training never waits for MLflow.

    In the end waits for the last ones, tells on standard error what could not be recorded, and raises nothing. With the
    tracking_uri ``none`` nothing is recorded.
    """
    if tracking_uri == "none":
        yield
        return
    since = str(time.time())
    command = [sys.executable, "-m", "dognet.sync", "--follow", since, str(root / "experiments" / study)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking.locate(tracking_uri, root)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, cwd=root, env=environment, start_new_session=True
    ) as child:  # a session of its own: Ctrl-C is for the training
        try:
            yield
            child.communicate()  # ends its input, and waits
        finally:
            child.terminate()  # harmless at any moment: the next command completes what it leaves
    if child.returncode:
        print("dognet: recording in MLflow broke off: dognet-sync records what is missing", file=sys.stderr)


def main() -> None:
    """Record in MLflow every run below the folders, or below experiments/: each once, whole."""
    parser = argparse.ArgumentParser("dognet-sync", description=main.__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="run folders, or folders that hold some")
    parser.add_argument("--tracking-uri", metavar="URI", help=URI_HELP)
    parser.add_argument("--follow", type=float, metavar="SINCE", help=argparse.SUPPRESS)
    words = parser.parse_args()
    root = config.project_root()
    if words.follow:
        follow(words.folders[0], Recorder(tracking.locate(None, root), root, words.follow, PATIENCE))
        return
    try:
        recorder = Recorder(store_uri(words.tracking_uri, root), root)
    except ConfigError as error:
        sys.exit(f"dognet-sync: {error}")
    if absent := [folder for folder in words.folders if not folder.is_dir()]:
        sys.exit(f"dognet-sync: {absent[0]}: no such folder")
    recorded = there = 0
    for folder in words.folders or [root / "experiments"]:
        added = recorder.catch_up(folder)
        if recorder.trouble:
            sys.exit(f"dognet-sync: {tracking.lacking(recorder.missing(folder), recorder.trouble)}")
        recorded += added
        there += sum(recorder.knows(path, info) for path, info in recorder.over(folder)) - added
    for fault in sorted(recorder.damaged):
        print(f"dognet-sync: {fault}: passed by", file=sys.stderr)
    print(f"{recorded} recorded, {there} were there")


if __name__ == "__main__":
    with interruptible("dognet-sync"):
        main()
