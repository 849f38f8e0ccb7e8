"""``dognet plot``: the pictures of runs, drawn into their folders and added to MLflow."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dognet.runs.run import Run
from dognet.stages.plot import plot
from dognet.tracking.address import store_uri
from dognet.tracking.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dognet plot``."""
    parser.add_argument("runs", nargs="*", help="studies or run folders; default: the run of dvc repro")
    parser.add_argument("--png", action="store_true", help="draw PNG pictures too")


def command(options: argparse.Namespace, root: Path, run: Run) -> None:
    """Draw the pictures of runs into their folders, and add them to MLflow.

    A study stands for its run with the lowest validation loss, or train loss where there are no validation images.
    """
    files = plot(run, root) + (plot(run, root, ".png") if options.png else [])
    names = ", ".join(file.name for file in files)
    print(f"{os.path.relpath(run.folder)}: {run.figures.summary()}\n{names}", flush=True)
    uri = store_uri(options.tracking_uri, root)
    if uri != "none":
        Store(uri, root).add_pictures(run.folder)
