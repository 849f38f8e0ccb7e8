"""The one command: ``dognet name=value …`` trains, ``dognet ui`` and the like are subcommands.

Each imports what it needs when it is called: --help and TAB should not wait for NumPy, Hydra or MLflow.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path

from dognet.errors import UserError
from dognet.interrupt import interruptible
from dognet.project import project_root, run_own_source

SUBCOMMANDS = {  # name: its module, and what it does
    "ui": ("dognet.tracking.ui", "compare the runs in the browser"),
    "report": ("dognet.sweep.report", "write the answer of a study"),
    "plot": ("dognet.sweep.plot", "draw the pictures of a run"),
    "sync": ("dognet.tracking.sync", "record the runs that MLflow does not have yet"),
    "export": ("dognet.tracking.export", "export the best network as an MLflow model"),
}
MULTIRUN = ("-m", "--multirun")


def main() -> None:
    """Run the command ``dognet``; every error ends it with one line."""
    words = sys.argv[1:]
    subcommand = words[0] if words and words[0] in SUBCOMMANDS else ""
    with interruptible(f"dognet {subcommand}".strip()):
        try:
            Path.cwd()
        except FileNotFoundError:
            raise UserError("the current folder has been deleted: cd into an existing one") from None
        if words == ["--version"]:
            print(f"dognet {metadata.version('dognet')}")
            return
        root = project_root()
        run_own_source(root)
        prepare_environment()
        if subcommand:
            run_subcommand(subcommand, words[1:], root)
        elif {"-h", "--help"} & set(words):
            from dognet.help import help_text  # imports pydantic too: Ctrl-C during that must be handled already

            print(help_text(root, {f"dognet {name}": text for name, (_, text) in SUBCOMMANDS.items()}), end="")
        elif {"-sc", "--shell-completion"} & set(words):
            complete(words, root)
        else:
            run_hydra(words, root)


def prepare_environment() -> None:
    """Let libraries work in any folder, also for a user without an entry in passwd or a writable home (container)."""
    os.environ["PYTHONSAFEPATH"] = "1"  # for processes that they start: a random.py in the root must not hide Python's
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = tempfile.gettempdir()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns if it can't write its cache


def complete(words: Sequence[str], root: Path) -> None:
    """Print for the shell how the last word may be completed; Hydra itself installs the completion."""
    if "query=" not in " ".join(words):
        import hydra

        from dognet.conf import VERSION_BASE

        with redirect_stdout(io.StringIO()) as script:  # Hydra would print a traceback where the reader has ended
            hydra.main(**VERSION_BASE, config_path=str(root.resolve() / "conf"), config_name="config")(print)()
        print(script.getvalue(), end="")
        return
    from dognet.help import choices, options

    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "0"))]
    *before, word = line.split(" ")
    first = list(SUBCOMMANDS) if len(before) == 1 else []
    offered = [*choices(root), *first, *(["--multirun", "--help", "--version"] if word else [])]
    if {*SUBCOMMANDS} & set(before[1:2]):
        offered = ["--help", *options(root, "experiment")]
    print("\n".join(choice for choice in offered if choice.startswith(word) and choice != word))


def run_subcommand(name: str, words: Sequence[str], root: Path) -> None:
    """Run a subcommand with its own options; plot and export take run folders, or studies for their best run."""
    module = importlib.import_module(SUBCOMMANDS[name][0])
    parser = argparse.ArgumentParser(f"dognet {name}", description=module.command.__doc__)
    module.add_arguments(parser)
    if name != "report":  # the others write to MLflow or show it
        parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store; default: the one in conf/")
    options = parser.parse_args(words)
    if name not in ("plot", "export"):
        module.command(options, root)
        return
    if name == "export" and options.to and len(options.runs) > 1:
        raise UserError(f"--to takes one run, got {len(options.runs)}: leave it out, or export one after another")
    from dognet.runs.folder import PIPELINE
    from dognet.sweep.members import run_to_keep

    for run in options.runs or [PIPELINE.name]:
        module.command(options, root, run_to_keep(run, root))


def run_hydra(words: Sequence[str], root: Path) -> None:
    """Let Hydra compose the settings, and train: one run, or with --multirun a sweep."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded: our own threads share the work
    from dognet.sweep.grid import for_hydra

    multirun = any(word in MULTIRUN for word in words)
    overrides = for_hydra([word for word in words if word not in MULTIRUN], root, multirun=multirun)
    if multirun:
        from dognet.sweep.sweeper import start

        start(overrides, root)
        return
    from dognet.conf import compose
    from dognet.sweep.single import train

    train(compose(root, overrides), root, overrides)


if __name__ == "__main__":
    main()
