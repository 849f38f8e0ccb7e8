"""The points of a grid: every combination of the swept values, validated, with its folder and its digest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString, RangeSweep, Sweep
from omegaconf import DictConfig

from dognet.conf import GROUPS, Composed, check_choice, name_of, read_conf, validate
from dognet.files import sha256_once
from dognet.runs import folder as folders
from dognet.runs.digest import digest, folder_name
from dognet.runs.run import ImagesId, Run
from dognet.settings import Settings, SettingsError, TrainingSettings, is_sweepable, is_text
from dognet.stages.fetch import fetch
from dognet.study import Study
from dognet.sweep.words import parse, read_words


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One run of a grid: its settings, its folder, and the digest of its result."""

    fixed: list[str]  # the words of the command line that all runs of the sweep share
    swept: dict[str, str]  # the settings in which they differ, as far as its method uses them
    settings: Settings
    folder: Path
    images: ImagesId
    test_sha256: str
    digest: str
    written: int | None  # when its run.json was written; None if there was none

    @property
    def name(self) -> str:
        """The settings that distinguish it from the other runs."""
        return named(self.swept) or self.folder.name

    @property
    def ended(self) -> bool:
        """Whether its run has ended since it was planned, finished or not."""
        return folders.written_at(self.folder) not in (None, self.written)

    def run(self) -> Run | None:
        """Return the finished run in its folder, or None if there is none with this digest."""
        return folders.finished(self.folder, self.digest)

    def failure(self) -> str | None:
        """Return the error of the run in its folder, if that run failed."""
        try:
            return folders.read_run(self.folder).manifest.error
        except folders.RunError:
            return None

    def reason(self) -> str:
        """Return why its run has to be trained."""
        return folders.reason_to_train(self.folder, self.images, self.test_sha256)


def named(settings: Mapping[str, object]) -> str:
    """Return settings as on the command line."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def points_of_study(root: Path, study: Study) -> list[PlannedRun]:
    """Return every point of a study's grid; fetches the images."""
    return make_grid(for_hydra(study.words(), root, multirun=True), root)


def for_hydra(words: Sequence[str], root: Path, *, multirun: bool) -> list[str]:
    """Check the words of a command line and return them in Hydra's syntax.

    SettingsError has a line for each mistake, in the words and in the values of settings.
    """
    read, faults = read_words(words, root, multirun=multirun)
    if faults:
        points_of(read, root, faults=faults)
    return read


def make_grid(words: Sequence[str], root: Path, config: DictConfig | None = None) -> list[PlannedRun]:
    """Return the points that the words ask for, each once; fetches their images.

    ``config`` is Hydra's composition of the words with one value, if it exists already.
    """
    fixed, *_ = split(words)
    points: dict[Path, PlannedRun] = {}
    fetched: dict[tuple[str, str], ImagesId] = {}
    for swept, settings in points_of(words, root, config):
        key = settings.source, settings.data.positive
        identity = fetched[key] = fetched.get(key) or fetch(settings, root)
        test_sha256 = sha256_once(root / "data" / settings.source / "test.csv")
        folder = folders.runs_folder(root, settings.study) / folder_name(settings)
        name = digest(settings, identity, test_sha256)
        written = folders.written_at(folder)
        points.setdefault(folder, PlannedRun(fixed, swept, settings, folder, identity, test_sha256, name, written))
        assert points[folder].digest == name, f"two runs for {folder}: folder_name must distinguish them"
    return list(points.values())


def points_of(
    words: Sequence[str], root: Path, config: DictConfig | None = None, faults: Sequence[str] = ()
) -> list[tuple[dict[str, str], Settings]]:
    """Return what is swept, and the settings, of every point that the words ask for.

    SettingsError has a line for each mistake in any of them, after the ``faults`` that are known.
    """
    fixed, swept, in_words = split(words)
    given = [*swept, *map(name_of, fixed)]
    grid: list[tuple[dict[str, str], Settings]] = []
    in_points: dict[str, list[str]] = {}
    bases: dict[tuple[str, ...], Composed | SettingsError] = {}  # by the files of images and method
    for values in itertools.product(*swept.values()):
        point = dict(zip(swept, values, strict=True))
        files = tuple(f"{group}={point[group]}" for group in GROUPS if group in point)
        if files not in bases:
            bases[files] = read_or_error(root, [*fixed, *files], given, config)
        try:
            grid.append(at_point(point, bases[files]))
        except SettingsError as error:
            for line in str(error).splitlines():
                in_points.setdefault(line, []).append(named(point))
    n_points = math.prod(map(len, swept.values()))
    lines = [line + concerning(points, n_points) for line, points in in_points.items()]
    lines += unused_by_all([base for base in bases.values() if isinstance(base, Composed)])
    if faults := [*faults, *in_words, *lines]:
        raise SettingsError("\n".join(faults))
    return grid


def split(words: Sequence[str]) -> tuple[list[str], dict[str, list[Any]], list[str]]:
    """Return the words that give one value, the values of those with several, and a line for each mistake."""
    fixed, swept, faults = [], {}, []
    for word in words:
        override = parse(word)
        if not override.is_sweep_override():
            fixed.append(word)
            continue
        try:
            swept[override.key_or_group] = values_of(override)
        except SettingsError as error:
            faults.append(str(error))
    return fixed, swept, faults


def values_of(override: Override) -> list[Any]:
    """Return the values that a word sweeps over."""
    word, name = str(override.input_line).lstrip("+").replace("'", ""), override.key_or_group  # as it was given
    if not is_sweepable(name):
        several = ", ".join(TrainingSettings.model_fields)
        raise SettingsError(f"{word}: only {several} and data may have several values")
    sweep = override.value()
    has_end = isinstance(sweep, ChoiceSweep) or (isinstance(sweep, RangeSweep) and sweep.step != 0)
    values = [plain(value, sweep) for value in override.sweep_iterator()] if has_end else [sweep]
    if any(isinstance(value, Sweep | Glob) for value in values):
        raise SettingsError(f"{word}: write all values out, as in seed=1,2,3, or one range with an end: seed=range(5)")
    if not values:
        raise SettingsError(f"{word}: it has no value, so there is no run")
    if "" in values:
        raise SettingsError(f"{word}: one of the values is empty")
    for value in values:
        if name in GROUPS:
            check_choice(name, value)
    return [str(value) for value in values] if is_text(name) else values


def plain(value: Any, sweep: object) -> Any:
    """Return a swept value without Hydra's wrapping: the last of range(0.1,0.4,0.1) as 0.3, not 0.30000000000000004."""
    if isinstance(value, QuotedString):
        return value.text
    return float(f"{value:.12g}") if isinstance(sweep, RangeSweep) and isinstance(value, float) else value


def read_or_error(
    root: Path, words: Sequence[str], given: Sequence[str], config: DictConfig | None
) -> Composed | SettingsError:
    """Return what Hydra makes of conf/ and the words, or what is wrong with them."""
    try:
        return read_conf(root, words, given, config)
    except SettingsError as error:
        return error


def at_point(point: Mapping[str, Any], base: Composed | SettingsError) -> tuple[dict[str, str], Settings]:
    """Return what is swept, without settings that the method does not use, and the validated settings."""
    if isinstance(base, SettingsError):
        raise base
    used = {name: value for name, value in point.items() if name not in base.unused}
    chosen = {name: value for name, value in used.items() if name not in GROUPS}
    settings = validate(base, chosen)
    effective = {name: attrgetter(name)(settings) for name in chosen}  # 1000 for ITERS=1e3
    return {name: str(value) for name, value in (used | effective).items()}, settings


def unused_by_all(bases: Sequence[Composed]) -> list[str]:
    """Return a line for each given setting that none of the methods uses; where some do, the others go without it."""
    unused = [name for name in bases[0].unused if all(name in base.unused for base in bases)] if bases else []
    methods = ",".join(dict.fromkeys(base.method for base in bases))
    return [f"{name} is no setting of method={methods}" for name in unused]


def concerning(points: Sequence[str], n_points: int) -> str:
    """Return which of the points a fault concerns; nothing if it concerns all."""
    if len(points) == n_points:
        return ""
    return f" ({points[0]})" if len(points) == 1 else f" ({len(points)} of {n_points} runs, the first {points[0]})"
