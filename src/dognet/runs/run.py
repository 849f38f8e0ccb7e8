"""A run as typed values: its settings, its images, its metrics, and where it comes from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dognet.settings import Model, PlainName, TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

# the columns of a curve: loss in nats and share of right answers, before the update of an iteration
CURVE = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


class ImagesId(Model):
    """The images of a run, by content. Generated images also have the settings that made them."""

    source: str  # the folder in data/
    positive: str
    pixels: tuple[str, ...]  # the names of the columns, in order
    train_sha256: str
    validation_sha256: str | None = None  # without validation images
    train_rows: int | None = None
    seed: int | None = None

    @property
    def content(self) -> tuple[str, str, str | None]:
        """The label to recognise, and the sha256 of the training and of the validation images."""
        return self.positive, self.train_sha256, self.validation_sha256


class Metrics(Model):
    """The metrics of a finished run: losses in nats, accuracies from 0 to 1, and how many test images it gets right."""

    train_loss: float
    train_accuracy: float
    validation_loss: float | None = None  # without validation images
    validation_accuracy: float | None = None
    test_loss: float
    test_accuracy: float
    baseline: float  # the share of the larger class among the test images
    balanced_accuracy: float | None = None  # the mean of both classes' test accuracy, where the classes are uneven
    true_positives: int | None = None  # test images of the positive class that are recognised
    false_negatives: int | None = None  # and those that are not
    false_positives: int | None = None
    true_negatives: int | None = None
    digest: str

    def by_name(self) -> dict[str, float]:
        """Return the metrics that the run has, by their names."""
        return self.model_dump(exclude={"digest"}, exclude_none=True)

    @property
    def chosen_by(self) -> str:
        """The name of the loss by which the best run is chosen; never a metric of the test images."""
        return chosen_by(self.by_name())

    @property
    def selection_loss(self) -> float:
        """The loss by which the best run is chosen, in nats."""
        return self.by_name()[self.chosen_by]

    def summary(self) -> str:
        """Return in a line how good the network is: the loss by which it is chosen, and its test accuracy."""
        loss = f"{self.chosen_by.replace('_', ' ')} {self.selection_loss:.4g} nats"
        balanced = "" if self.balanced_accuracy is None else f", balanced accuracy {self.balanced_accuracy:.4g}"
        return f"{loss}, test accuracy {self.test_accuracy:.4g} (baseline {self.baseline:.4g}){balanced}"


class Provenance(Model):
    """Where a run was made."""

    git_commit: str | None
    git_dirty: bool | None
    dvc_revision: str | None
    dvc_experiment: str | None
    versions: dict[str, str]  # of Python and of the packages that compute
    host: str


class Manifest(Model):
    """The content of run.json: what became of the run, and the sha256 of its files."""

    format: Literal[2] = 2
    status: Literal["trained", "finished", "failed"] = "trained"
    study: PlainName  # names folders: of its artifacts in MLflow, of its exported model
    digest: str | None = None  # of its result; a run that is only trained has none
    trajectory: str
    code: str  # sha256 of the numeric code
    start: str | None  # UTC, ISO 8601; unknown where DVC restored the files
    seconds: float | None = None
    reading: float = 0  # how many of these seconds passed until the images were read
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
    images: ImagesId
    manifest: Manifest
    metrics: Metrics | None  # None for a failed run

    @property
    def finished(self) -> bool:
        """Whether the run ended without an error."""
        return self.manifest.status == "finished"

    @property
    def figures(self) -> Metrics:
        """The metrics of a finished run."""
        assert self.metrics is not None, f"{self.folder} has failed"
        return self.metrics

    def curve(self) -> pd.DataFrame:
        """Read the recorded iterations from curve.csv."""
        return read_curve(self.folder / "curve.csv")


def curve_text(points: Sequence[tuple[float, ...]]) -> str:
    """Return the text of curve.csv. A point is an iteration and the values of CURVE, all or only the train ones.

    The values have 10 significant digits, so that another CPU's last bits don't change the file.
    """
    import pandas as pd  # for which --help should not wait

    table = pd.DataFrame(points, columns=["iteration", *CURVE[: len(points[0]) - 1]])
    return str(table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def read_curve(path: Path) -> pd.DataFrame:
    """Read curve.csv: a row for each recorded iteration, a column for each of CURVE."""
    import pandas as pd

    return pd.read_csv(path, index_col="iteration")


def chosen_by(figures: Collection[str]) -> str:
    """Return which of these metrics chooses the best run: the validation loss if there is one, else the train loss."""
    return "validation_loss" if "validation_loss" in figures else "train_loss"
