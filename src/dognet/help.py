"""What the command offers, for its help and for the shell's completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from dognet.errors import without_password
from dognet.settings import GivenSettings, all_settings, as_written
from dognet.study import study_files

HELP = """\
dognet: train the lecture's network, sweep its settings, compare the runs.

  dognet name=value ...                              one run
  dognet --multirun hiddenNodes=2,4 'seed=range(5)'  a sweep: every combination
  dognet --multirun experiment=width                 a study

{settings}

data: {data}
method: {method}
experiment: {studies}

{subcommands}

dvc repro runs the pipeline. dognet ui --help explains a subcommand.
To complete words with TAB: eval "$(dognet --shell-completion install=bash)"
"""


def help_text(root: Path, subcommands: Mapping[str, str]) -> str:
    """Return the help: every setting with its meaning and its value in conf/, the studies, the subcommands."""
    values = as_written(root / "conf" / "config.yaml") | as_written(root / "conf" / "execution.yaml")
    shown = [name for name in GivenSettings.model_fields if name not in ("data", "method")]
    now = {name: f" ({without_password(str(values[name]))})" if values.get(name) else "" for name in shown}
    rows = [(name, f"{GivenSettings.model_fields[name].description}{now[name]}") for name in shown]
    return HELP.format(
        settings=columns(rows),
        data=", ".join(options(root, "data")),
        method=", ".join(options(root, "method")),
        studies=", ".join(options(root, "experiment")),
        subcommands=columns(list(subcommands.items())),
    )


def columns(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and explanations in two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def options(root: Path, group: str) -> list[str]:
    """Return the values of ``data``, ``method`` or ``experiment``: the names of the existing files."""
    if group == "experiment":
        return list(study_files(root))
    return sorted(path.stem for path in root.glob(f"conf/{group}/*.yaml"))


def choices(root: Path) -> list[str]:
    """Return the words that the command line accepts: settings, their values, studies."""
    words = [f"{name}=" for name in (*all_settings(), "experiment")]
    groups = "data", "method", "experiment"
    words += [f"{group}={option}" for group in groups for option in options(root, group)]
    of_methods = {name for file in root.glob("conf/method/*.yaml") for name in as_written(file) if name != "name"}
    words += [f"method.{name}=" for name in sorted(of_methods)]
    for name, field in all_settings().items():
        values = ("true", "false") if field.annotation is bool else get_args(field.annotation)
        words += [f"{name}={value}" for value in values if isinstance(value, str)]
    return words
