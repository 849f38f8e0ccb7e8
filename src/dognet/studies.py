"""Studies: experiments/<study>/study.yaml, which holds a question and the settings that answer it.

    # How many hidden nodes solve the checkerboard?      the question: the first paragraph of the header
    ITERS: 3000                                          settings of every run, where not the usual
    hydra:
      sweeper:
        params:
          hiddenNodes: 1,2,4                             the grid, as on the command line
          seed: range(5)

Nothing else may stand there: whoever runs another's study runs no code of theirs.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dognet.config import FOLDER_NAME, SETTINGS, Config, ConfigError
from dognet.errors import BROKEN, NAMES, STUDIES, SweepError, one_line, unknown_name

Settings = tuple[dict[str, str], list[str], Config]  # of a run: what is swept, the same as overrides, all

HERE = Path(__file__).resolve().parent
SHIPPED = HERE / "experiments", HERE.parents[1] / "experiments"  # in a wheel, in the repository


class StudyError(Exception):
    """A study file that isn't one: which, and why."""


def files(root: Path) -> dict[str, Path]:
    """Return the study files by name: the project's own, or where it has none those that dognet brings."""
    own = {path.parent.name: path for path in sorted((root / "experiments").glob("*/study.yaml"))}
    shipped = {path.parent.name: path for folder in SHIPPED for path in sorted(folder.glob("*/study.yaml"))}
    return own or shipped


def register(root: Path) -> None:
    """Tell Hydra of every study, so that --help, TAB and its messages know them; a broken one is set aside."""
    for name, path in files(root).items():
        try:
            ConfigStore.instance().store(group="experiment", name=name, package="_global_", node=read(path))
            STUDIES.add(name)
        except StudyError as error:
            BROKEN[name] = str(error)


def read(path: Path) -> dict[str, Any]:
    """Read a study file: nothing but settings and a grid of them."""
    try:
        node = OmegaConf.load(path)
        settings = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else None
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        raise StudyError(f"{path}: {' '.join(str(error).split())}") from error
    match settings:
        case {"hydra": {"sweeper": {"params": dict(grid), **other_sweeper}, **other_hydra}, **plain}:
            strange = [f"hydra.sweeper.{key}" for key in other_sweeper] + [f"hydra.{key}" for key in other_hydra]
        case _:
            raise StudyError(f"{path}: a study has its grid under hydra.sweeper.params, as in hiddenNodes: 1,2,4")
    strange += [str(key) for key in plain if key not in SETTINGS]
    strange += [f"hydra.sweeper.params.{key}" for key in grid if not sweepable(str(key))]
    for key in map(str, [*plain, *grid]):
        if key not in SETTINGS and (near := difflib.get_close_matches(key, SETTINGS, n=1)):
            raise StudyError(f"{path}: no setting {key}: did you mean {near[0]}?")
        if key in plain and sweepable(key) and key not in SETTINGS:
            raise StudyError(f"{path}: {key} belongs under hydra.sweeper.params, with one value or several")
    if strange:
        raise StudyError(f"{path}: {', '.join(strange)} can't stand in a study: it holds settings of the runs only")
    for key, value in [*plain.items(), *grid.items()]:
        if not isinstance(value, int | float | str) or "${" in str(value):
            raise StudyError(
                f"{path}: {key} must be a plain value, or in the grid several with commas, no brackets, got {value!r}"
            )
    if not FOLDER_NAME[1](path.parent.name):
        raise StudyError(f"{path}: a study's folder must be named with {FOLDER_NAME[0].partition(': ')[2]}")
    params = {key: str(value) for key, value in grid.items()}
    values = {str(key): value for key, value in plain.items()}
    return {**values, "study": path.parent.name, "hydra": {"sweeper": {"params": params}}}


def sweepable(name: str) -> bool:
    """Return whether the runs of one sweep may differ in this setting."""
    return name in SETTINGS or name == "data" or name.startswith("data.")


def header(path: Path) -> Iterator[str]:
    """Yield the paragraphs of the comment at the top of a study file; the first is the question."""
    lines = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        text = line.removeprefix("#").strip()
        if text.startswith("@package"):  # as Hydra's experiments have it; here it says nothing new
            continue
        if text and line.startswith("#"):
            lines.append(text)
        else:
            if lines:
                yield " ".join(lines)
            lines = []
            if not line.startswith("#"):
                return


class PointLoader:
    """Composes the runs of a sweep: Hydra does it once, and the values that differ are set on copies of that.

    Launchers take it for Hydra's own loader, of which they call this one method.
    """

    def __init__(self, loader: ConfigLoader, fixed: Sequence[str]):
        self.loader, self.fixed = loader, list(fixed)
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Go to a worker without Hydra's loader: what the grid needs is composed."""
        return {**vars(self), "loader": None}

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: Sequence[str], faults: list[str] | None = None
    ) -> DictConfig:
        """Return the settings of one run, with Hydra's node; in ``faults``, if given, what has a wrong type."""
        groups = tuple(override for override in sweep_overrides if override.startswith("data="))
        if groups not in self.composed:
            self.composed[groups] = light(self.loader.load_sweep_config(master_config, [*self.fixed, *groups]))
        settings = copy.deepcopy(self.composed[groups])
        plain = [override for override in sweep_overrides if override not in groups]
        for override in OverridesParser.create().parse_overrides(plain):
            try:
                OmegaConf.update(settings, override.key_or_group, override.value())
            except OmegaConfBaseException as error:
                if faults is None:
                    raise
                faults.append(one_line(error))
        settings.hydra.overrides.task = [*self.fixed, *sweep_overrides]
        return settings


def light(settings: DictConfig) -> DictConfig:
    """Leave out of Hydra's node what no run needs: Hydra copies it about ten times a run, joblib sends it along."""
    with flag_override(settings, "readonly", False), flag_override(settings.hydra, "struct", False):
        hydra = settings.hydra
        for name in "launcher", "sweeper", "help", "hydra_help", "env", "run", "searchpath":
            del hydra[name]
        hydra.hydra_logging = hydra.job_logging = {"root": None}
        hydra.runtime.config_sources = hydra.overrides.hydra = []
        hydra.runtime.choices = {"data": hydra.runtime.choices["data"]}
    return settings


def split(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the overrides with one value, and the values of each setting with several; later ones replace earlier."""
    overrides = {
        override.get_key_element(): override for override in OverridesParser.create().parse_overrides(list(arguments))
    }
    fixed, swept = [], {}
    for name, override in overrides.items():
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
        elif not sweepable(name):
            known = f"{override.input_line}: only {', '.join(SETTINGS)} and data may have several values"
            raise SweepError(known if name in (*NAMES, "experiment") else unknown_name(name))
        elif override.value_type is ValueType.GLOB_CHOICE_SWEEP:
            raise SweepError(f"{override.input_line}: write the names, as in data=generated,lecture")
        elif not override.is_discrete_sweep():
            raise SweepError(f"{override.input_line}: an interval has no end of values, range(…) has")
        else:
            swept[name] = [rounded(value) for value in override.sweep_string_iterator()]
            if not swept[name]:
                raise SweepError(f"{override.input_line}: no value lies in it, so there is no run")
    return fixed, swept


def rounded(value: str) -> str:
    """Return a number of range(0.1,0.4,0.1) as it was meant: 0.3 and not 0.30000000000000004."""
    return f"{float(value):.12g}" if re.fullmatch(r"\d+\.\d{13,}", value) else value


def compose(loader: PointLoader, master: DictConfig, swept: Mapping[str, Sequence[str]]) -> list[Settings]:
    """Return the checked settings of each point of the grid; SweepError tells what is wrong with all of them."""
    from dognet.cli import checked

    grid: list[Settings] = []
    faults: dict[str, list[str]] = {}
    for values in itertools.product(*swept.values()):
        point = dict(zip(swept, values, strict=True))
        overrides = [f"{name}={value}" for name, value in point.items()]
        wrong: list[str] = []
        try:
            settings = loader.load_sweep_config(master, overrides, wrong)
            with open_dict(settings):
                source = settings.pop("hydra").runtime.choices["data"]
            grid.append((point, overrides, checked(settings, source)))
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            wrong += one_line(error).split("; ")
        for fault in wrong:
            faults.setdefault(fault, []).append(" ".join(overrides))
    if faults:
        n_points = math.prod(len(values) for values in swept.values())
        raise SweepError("\n".join(fault + concerning(runs, n_points) for fault, runs in faults.items()))
    return grid


def concerning(names: Sequence[str], n_points: int) -> str:
    """Return which of the runs a fault concerns; nothing if all."""
    if len(names) == n_points:
        return ""
    return f" ({names[0]})" if len(names) == 1 else f" ({len(names)} of {n_points} runs, the first {names[0]})"
