"""The commands as they are installed: each is ready for Ctrl-C before it imports what takes its time."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path

from dognet.interrupt import interruptible


def start(name: str, module: str) -> None:
    """Run the command ``name``, which is the function main of a module."""
    with interruptible(name):
        try:
            Path.cwd()
        except FileNotFoundError:
            sys.exit(f"{name}: the current folder has been deleted: cd to one that is there")
        importlib.import_module(module).main()


dognet = partial(start, "dognet", "dognet.cli")
export = partial(start, "dognet-export", "dognet.export")
plot = partial(start, "dognet-plot", "dognet.plot")
report = partial(start, "dognet-report", "dognet.report")
sync = partial(start, "dognet-sync", "dognet.sync")
ui = partial(start, "dognet-ui", "dognet.ui")
