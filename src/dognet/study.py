"""Studies: experiments/<study>/study.yaml, a question and the settings that answer it.

    # How many hidden nodes solve the checkerboard?      the question: the first paragraph of the header
    ITERS: 3000                                          settings of every run that differ from conf/
    solved: 0.95                                         the test accuracy that counts as solved, if not 0.99
    hydra:
      sweeper:
        params:
          hiddenNodes: 1,2,4                             the grid, as on the command line
          seed: range(5)

A study holds nothing else, so running a stranger's study runs none of their code.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dognet.errors import UserError
from dognet.settings import PLAIN_NAME, all_settings, as_written, bound, is_sweepable, unknown_name

SOLVED = 0.99  # a run with at least this test accuracy solves the task, unless the study sets another threshold


@dataclass(frozen=True)
class Study:
    """A question, and the settings of the runs that answer it, as text."""

    name: str
    path: Path
    question: str
    notes: tuple[str, ...]  # the other paragraphs of the header
    fixed: dict[str, str]
    swept: dict[str, str]
    solved: float = SOLVED

    def words(self) -> list[str]:
        """Return the settings as words of the command line."""
        return [f"{name}={value}" for name, value in {"study": self.name, **self.fixed, **self.swept}.items()]


def study_files(root: Path) -> dict[str, Path]:
    """Return the project's study files by name."""
    return {path.parent.name: path for path in sorted((root / "experiments").glob("*/study.yaml"))}


def find_study(name: str, root: Path) -> Study:
    """Return the study of this name; if there is none, UserError lists the existing ones."""
    files = study_files(root)
    if name not in files:
        there = f"there are {', '.join(files)}" if files else "no study has a file: experiments/<study>/study.yaml"
        raise UserError(f"experiment={name}: no such study, {there}")
    return read_study(files[name])


def read_study(path: Path) -> Study:
    """Read a study file and check that it holds settings and a grid, and nothing else."""
    fixed, name = as_written(path), path.parent.name
    if not PLAIN_NAME.fullmatch(name):
        raise UserError(f"{path}: a study's folder must be {bound('study')}")
    match fixed.pop("hydra", None):
        case {"sweeper": {"params": dict(grid), **others}, **more} if not others and not more:
            solved = fixed.pop("solved", str(SOLVED))
        case _:
            raise UserError(f"{path}: a study has its grid under hydra.sweeper.params, as in seed: 1,2,3, nothing else")
    check_names(path, fixed, grid)
    for key, value in [("solved", solved), *fixed.items(), *grid.items()]:
        if not isinstance(value, str) or "${" in value or value != (value.strip(",") or None):
            raise UserError(
                f"{path}: {key} must be a plain value, or in the grid several separated by commas, no brackets, "
                f"got {value!r}"
            )
    question, *notes = header(path) or [f"What do the runs of {name} show?"]
    return Study(name, path, question, tuple(notes), fixed, grid, check_solved(path, solved))


def check_names(path: Path, fixed: Mapping[str, Any], grid: Mapping[str, Any]) -> None:
    """Raise UserError unless each name is a setting of the runs, and is there once."""
    for key in [*fixed, *grid]:
        if key in fixed.keys() & grid.keys():
            raise UserError(f"{path}: {key} appears twice, above the grid and in it")
        if key in all_settings() and not is_sweepable(key):
            raise UserError(f"{path}: {key} is not a setting of a study: the command line sets it")
        if not is_sweepable(key):
            raise UserError(f"{path}: {unknown_name(key)}")


def check_solved(path: Path, solved: str) -> float:
    """Return the test accuracy that counts as solved."""
    with suppress(ValueError):
        if 0 < float(solved) <= 1:
            return float(solved)
    raise UserError(f"{path}: solved must be a test accuracy above 0 and at most 1, got {solved!r}")


def header(path: Path) -> list[str]:
    """Return the paragraphs of the comment at the top of a study file."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8-sig").splitlines())
    texts = [line.removeprefix("#").strip() for line in lines]
    comment = "\n".join(text for text in texts if not text.startswith("@package"))  # Hydra's line, without effect here
    return [paragraph.strip().replace("\n", " ") for paragraph in comment.split("\n\n") if paragraph.strip()]
