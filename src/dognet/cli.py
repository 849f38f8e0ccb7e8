"""The one command: ``dognet name=value …`` trains, ``dognet ui`` and the like are subcommands."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from dognet.interrupt import interruptible
from dognet.project import ProjectError, project_root, run_own_source
from dognet.settings import EXECUTION, TrainingSettings, as_written, bound, field_of, names

SUBCOMMANDS = {  # name: its module, and what it does
    "ui": ("dognet.tracking.ui", "compare the runs in the browser"),
    "report": ("dognet.sweep.report", "write the answer of a study"),
    "plot": ("dognet.stages.plot", "draw the pictures of a run"),
    "sync": ("dognet.tracking.sync", "record in MLflow what is missing there"),
    "export": ("dognet.tracking.export", "give the best network away, as an MLflow model"),
}
PIPELINE = "pipeline"  # the run of `dvc repro`
MULTIRUN = ("-m", "--multirun")
HELP = """\
dognet: train the lecture's network, sweep its settings, compare the runs.

  dognet name=value ...                              one run
  dognet --multirun hiddenNodes=2,4 'seed=range(5)'  a sweep: every combination
  dognet --multirun experiment=width                 a study

{settings}

data: {data}
experiment: {studies}

{subcommands}

dvc repro runs the pipeline. dognet ui --help explains a subcommand.
TAB completes after: eval "$(dognet --shell-completion install=bash)"
"""


def main() -> None:
    """Run the command line; every mistake and every fault ends in one line."""
    words = sys.argv[1:]
    subcommand = words[0] if words and words[0] in SUBCOMMANDS else ""
    with interruptible(f"dognet {subcommand}".strip()):
        try:
            Path.cwd()
        except FileNotFoundError:
            raise ProjectError("the current folder has been deleted: cd into one that is there") from None
        if words == ["--version"]:
            print(f"dognet {metadata.version('dognet')}")
            return
        root = project_root()
        run_own_source(root)
        if subcommand:
            run_subcommand(subcommand, words[1:], root)
        elif {"-h", "--help"} & set(words):
            print(help_text(root), end="")
        elif {"-sc", "--shell-completion"} & set(words):
            complete(words, root)
        else:
            run_hydra(words, root)


def run_subcommand(name: str, words: Sequence[str], root: Path) -> None:
    """Run a subcommand on its own options; those on runs take folders of runs, and studies for their best run."""
    module = importlib.import_module(SUBCOMMANDS[name][0])
    parser = argparse.ArgumentParser(f"dognet {name}", description=module.command.__doc__)
    module.add_arguments(parser)
    options = parser.parse_args(words)
    if name not in ("plot", "export"):
        module.command(options, root)
        return
    from dognet.sweep.members import run_to_keep

    for run in options.runs or [PIPELINE]:
        module.command(options, root, run_to_keep(run, root))


def run_hydra(words: Sequence[str], root: Path) -> None:
    """Let Hydra compose the settings and train: one run, or with --multirun a sweep."""
    from dognet.sweep import single
    from dognet.sweep.words import read_words

    multirun = any(word in MULTIRUN for word in words)
    settings = read_words([word for word in words if word not in MULTIRUN], root, multirun=multirun)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded: threads of ours share the work
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing six lines
    sys.argv[1:] = [*(["--multirun"] if multirun else []), *settings]
    single.start(root)


# --- help and completion


def help_text(root: Path) -> str:
    """Return the help: every setting with its meaning and its value in conf/, the studies, the subcommands."""
    values = as_written(root / "conf" / "config.yaml") | as_written(root / "conf" / "execution.yaml")
    rows = []
    for name in [*TrainingSettings.model_fields, *EXECUTION]:
        field = field_of(name)
        assert field is not None
        now = f" ({values[name]})" if values.get(name) else ""
        rows.append((name, f"{field.description}{now}"))
    subcommands = [(f"dognet {name}", text) for name, (_, text) in SUBCOMMANDS.items()]
    return HELP.format(
        settings=columns(rows),
        data=", ".join(options(root, "data")),
        studies=", ".join(options(root, "experiment")),
        subcommands=columns(subcommands),
    )


def columns(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and explanations in two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def options(root: Path, group: str) -> list[str]:
    """Return the values of ``data`` or ``experiment``: the files that there are."""
    pattern = {"data": "conf/data/*.yaml", "experiment": "experiments/*/study.yaml"}[group]
    return sorted(path.stem if group == "data" else path.parent.name for path in root.glob(pattern))


def complete(words: Sequence[str], root: Path) -> None:
    """Print what may follow on the command line, for the shell; Hydra installs the completion itself."""
    if "query=" not in " ".join(words):
        from dognet.sweep import single

        single.start(root)
        return
    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "0"))]
    *before, word = line.split(" ")
    choices = [f"{name}=" for name in (*names(), "experiment") if name != "data.kind"]
    choices += [f"{group}={option}" for group in ("data", "experiment") for option in options(root, group)]
    choices += [f"{name}={value}" for name in names() for value in bound(name).split(" or ") if " or " in bound(name)]
    choices += list(SUBCOMMANDS) if len(before) == 1 else []
    print("\n".join(choice for choice in choices if choice.startswith(word) and choice != word))


if __name__ == "__main__":
    main()
