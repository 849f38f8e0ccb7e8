"""A run as an entry of MLflow: its identity, name, parameters, metrics, tags and data sets.

All of it is derived from the fields of the run, so a new setting or figure shows up by itself.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from dognet.runs.folder import PIPELINE, written_at
from dognet.runs.run import Manifest, Run
from dognet.settings import TrainingSettings

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric

POINTS = 120  # of a curve: more points took half of the recording time, and the page looked no better
WITHOUT_SEED = "settings"  # the tag shared by runs that differ only in their seed
HASHES = {"train_sha256", "validation_sha256"}  # of the images: recorded as tags, not as parameters
Identity = tuple[str, str]  # the tag by which MLflow knows a run, and its value


def identity(folder: Path, manifest: Manifest) -> Identity:
    """Return the identity of a run: its digest or, if it failed, its folder and start."""
    if manifest.status == "finished":
        return "digest", str(manifest.digest)
    return "failed", f"{folder_tag(folder)} {manifest.start}"


def folder_tag(folder: Path) -> str:
    """Return the name of a run's folder, in which the quotes of a name that a user chose can't end a query's text."""
    return quote(folder.name, safe="=,+% ")


def start_time(manifest: Manifest) -> int:
    """Return the run's start in milliseconds since 1970, 0 where it is unknown."""
    return round(1000 * datetime.fromisoformat(manifest.start).timestamp()) if manifest.start else 0


def times(run: Run) -> tuple[int, int]:
    """Return the run's start and end in milliseconds since 1970; a run that DVC restored starts when restored."""
    start = start_time(run.manifest) or round((written_at(run.folder) or 0) / 10**6)
    return start, start + round(1000 * (run.manifest.seconds or 0))


def short_names() -> dict[str, str]:
    """Return a short name for each setting: its first letter, or all of it where an earlier one has that letter."""
    short: dict[str, str] = {}
    for name in TrainingSettings.model_fields:
        short[name] = name if name[0].lower() in short.values() else name[0].lower()
    return short


def run_name(run: Run, omit: str = "") -> str:
    """Return the name of a run on MLflow's page, short enough for a legend of many: settings that are not default."""
    short, words = short_names(), []
    for name, value in run.settings.training(defaults=False).items():
        if name != omit:
            words.append(value if isinstance(value, str) else f"{short.get(name, name.rpartition('.')[2])}{value}")
    words += [run.images.source] if run.images.source != "generated" else []
    words += [run.images.positive] if "positive=" in run.folder.name else []  # not the usual label
    return " ".join(words)


def params(run: Run) -> dict[str, str]:
    """Return the run's settings and those of its images."""
    images = run.images.model_dump(exclude={"pixels", *HASHES}, exclude_none=True)
    values = run.settings.training() | {f"data.{name}": value for name, value in images.items()}
    return {name: str(value) for name, value in values.items()}


def metrics(run: Run) -> list[Metric]:
    """Return the curves, and as final/… the metrics by which runs are compared.

    The times are derived from the run's own, so recording it again adds no row. An infinite loss is left out: MLflow
    would turn it into 1.8e308, and its charts would reach that far.
    """
    from mlflow.entities import Metric

    if not run.finished:
        return []
    start, end = times(run)
    curve = run.curve()
    curve = curve.iloc[np.linspace(0, len(curve) - 1, min(len(curve), POINTS)).round().astype(int)]
    last = int(curve.index[-1]) or 1
    rows = [
        Metric(str(name).replace("_", "/", 1), value, start + (end - start) * iteration // last, iteration)
        for name, values in curve.items()
        for iteration, value in zip(curve.index.tolist(), values.tolist(), strict=True)
    ]
    figures = {**run.figures.by_name(), "seconds": run.manifest.seconds}
    rows += [Metric(f"final/{name}", value, end, 0) for name, value in figures.items() if value is not None]
    return [row for row in rows if math.isfinite(row.value)]


def tags(run: Run) -> dict[str, str]:
    """Return what the run is and where it comes from."""
    manifest, provenance = run.manifest, run.manifest.provenance
    values = {
        **manifest.model_dump(include={"study", "trajectory", "continued_from", "error", "test_sha256"}),
        **run.images.model_dump(include=HASHES),
        **provenance.model_dump(exclude={"versions"}),
        **{f"version.{name}": version for name, version in provenance.versions.items()},
        "folder": folder_tag(run.folder),
        WITHOUT_SEED: run_name(run, omit="seed"),
        "iteration": run.settings.method.build().iteration,
        "infinite_loss": infinite_loss(run) if run.finished else None,
        "overrides": " ".join(manifest.overrides) or None,
        "data": run.images.source,
        "mlflow.source.name": "dvc repro" if manifest.study == PIPELINE.name else "dognet",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": provenance.git_commit,
    }
    return {name: str(value)[:5000] for name, value in values.items() if value is not None}


def infinite_loss(run: Run) -> str | None:
    """Return where a finished run's loss is infinite, since ``metrics`` leaves out such values; None if it never is."""
    curve = run.curve()
    infinite = curve.index[curve.isin([np.inf]).any(axis=1)].tolist()
    if infinite:
        return f"from iteration {infinite[0]}"
    return "of the test images" if math.isinf(run.figures.test_loss) else None


def datasets(run: Run) -> list[DatasetInput]:
    """Return the train, the validation and the test images."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    hashes = {"train": run.images.train_sha256, "validation": run.images.validation_sha256}
    inputs = []
    for part, sha256 in {**hashes, "test": run.manifest.test_sha256}.items():
        if sha256:
            source = json.dumps({"uri": f"data/{run.images.source}/{part}.csv"})
            tag = InputTag("mlflow.data.context", part)
            inputs.append(DatasetInput(Dataset(part, sha256[:36], "local", source), [tag]))
    return inputs
