"""``dognet plot``: the pictures of runs, drawn into their folders and added to MLflow."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dognet.conf import compose
from dognet.runs.run import Run
from dognet.stages.plot import plot
from dognet.tracking.address import locate
from dognet.tracking.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dognet plot``."""
    parser.add_argument("runs", nargs="*", help="studies or run folders, if not the run of dvc repro")
    parser.add_argument("--png", action="store_true", help="draw PNG pictures too")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow's store, if not the one of the project's settings"
    )


def command(options: argparse.Namespace, root: Path, run: Run) -> None:
    """Draw the pictures of runs into their folders, and add them to MLflow; of a study it is the best run."""
    files = plot(run, root) + (plot(run, root, ".png") if options.png else [])
    print(f"{os.path.relpath(run.folder)}: {', '.join(file.name for file in files)}", flush=True)
    uri = locate(options.tracking_uri or compose(root).tracking_uri, root)
    if uri != "none":
        store = Store(uri, root)
        store.record(run.folder)
        store.add_pictures(run.folder)
