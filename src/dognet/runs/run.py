"""A run as typed values: its settings, its images, its figures, and where it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from dognet.settings import Model, TrainingSettings


class Point(NamedTuple):
    """A recorded iteration: loss in nats and share of right answers on the training images, before its update."""

    iteration: int
    train_loss: float
    train_accuracy: float


class Images(Model):
    """The images of a run, by content. The settings that made them are given where they were made on the spot."""

    source: str  # the folder in data/
    positive: str
    pixels: tuple[str, ...]  # the names of the columns, in order
    train_sha256: str
    train_rows: int | None = None
    seed: int | None = None


class Metrics(Model):
    """The figures of a finished run: losses in nats, accuracies from 0 to 1."""

    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    baseline: float  # the share of the larger class among the test images
    digest: str

    def figures(self) -> dict[str, float]:
        """Return the numbers by name."""
        return self.model_dump(exclude={"digest"})


class Versions(Model):
    """The versions of Python and of the packages that compute."""

    python: str
    dognet: str
    numpy: str
    pandas: str


class Provenance(Model):
    """Where a run was made."""

    git_commit: str | None
    git_dirty: bool | None
    dvc_revision: str | None
    dvc_experiment: str | None
    versions: Versions
    host: str


class Manifest(Model):
    """The content of run.json: what became of the run, and the sha256 of its files."""

    format: Literal[2] = 2
    status: Literal["trained", "finished", "failed"]
    study: str
    digest: str | None  # of its result; a run that is only trained has none
    trajectory: str
    code: str  # sha256 of the numeric code
    start: str | None  # UTC, ISO 8601; unknown where DVC restored the files
    seconds: float | None
    continued_from: str | None = None  # the folder of the shorter run
    overrides: tuple[str, ...] = ()
    error: str | None = None  # of a failed run
    test_sha256: str | None = None
    provenance: Provenance
    sha256: dict[str, str]  # by file name


@dataclass(frozen=True)
class Run:
    """A run that has ended, as its folder holds it: finished or failed."""

    folder: Path
    settings: TrainingSettings
    images: Images
    manifest: Manifest
    metrics: Metrics | None  # None for a failed run

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.manifest.status == "finished"

    @property
    def figures(self) -> Metrics:
        """The metrics of a finished run."""
        assert self.metrics is not None, f"{self.folder} has failed"
        return self.metrics

    def curve(self) -> list[Point]:
        """Read the recorded iterations from curve.csv."""
        return read_curve(self.folder / "curve.csv")


def curve_text(points: list[Point]) -> str:
    """Return curve.csv, with 10 significant digits: another CPU's last bits don't change the file."""
    rows = [f"{point.iteration},{point.train_loss:.10g},{point.train_accuracy:.10g}" for point in points]
    return "\n".join([",".join(Point._fields), *rows]) + "\n"


def read_curve(path: Path) -> list[Point]:
    """Read curve.csv."""
    _, *rows = path.read_text(encoding="utf-8").splitlines()
    cells = (row.split(",") for row in rows)
    return [Point(int(iteration), float(loss), float(accuracy)) for iteration, loss, accuracy in cells]


def first_infinite(points: list[Point]) -> int | None:
    """Return the first recorded iteration whose loss is infinite, if there is one."""
    return next((point.iteration for point in points if math.isinf(point.train_loss)), None)
