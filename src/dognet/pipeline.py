"""The stages in one process: what ``dognet`` does for each run, and ``dvc repro`` in steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dognet import runs
from dognet.config import Config
from dognet.evaluate import evaluate
from dognet.fetch import fetch
from dognet.files import sha256
from dognet.network.descent import Report
from dognet.runs import Run
from dognet.tracking import without_password
from dognet.train import train


def runs_folder(root: Path, study: str) -> Path:
    """Return where a study's run folders lie."""
    return root / "experiments" / study / "runs"


def run(config: Config, root: Path, *, report: Report | None = None, overrides: list[str] | None = None) -> Run:
    """Fetch, train and evaluate once, into the study's runs; a finished run is returned as it stands unless forced.

    What goes wrong in training or after it is kept in the folder (status ``failed``) and raised again; a mistake in the
    images leaves the folder as it is.
    """
    folder = runs_folder(root, config.study) / runs.folder_name(config)
    info: dict[str, Any] = {
        "study": config.study,
        "start": runs.now(),
        "overrides": [without_password(words) for words in overrides or []],
    }
    data = fetch(config, root)
    info["test_sha256"] = sha256(data / "test.csv")
    settings = runs.describe(config, sha256(data / "train.csv"))
    info["digest"] = runs.digest(settings, info["test_sha256"])
    done = None if config.force else runs.finished(folder, info["digest"])
    if done is not None:
        return done
    try:
        info |= train(config, data, folder, report=report, others=None if config.force else folder.parent)
        evaluate(data, folder)
        return runs.finish(folder, info)
    except Exception as error:
        runs.fail(folder, settings, error, info)
        raise
