"""Stage evaluate: the trained network on the test images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dognet import images, plots, runs
from dognet.files import sha256, write
from dognet.images import ImagesError
from dognet.interrupt import interruptible
from dognet.network import InputError, NNet, logistic, logloss
from dognet.runs import RunError

if TYPE_CHECKING:
    import pandas as pd


def evaluate(data: Path, folder: Path) -> str:
    """Write metrics.json of the network in ``folder``: train and test loss (nats) and accuracy. Return its digest.

    Draws how it takes the test images, too.
    """
    described = runs.settings(folder)
    table = images.read(data / "test.csv")
    X, y = images.split(table, described["data"]["positive"])
    net = NNet.load(folder / "weights.npz")
    _, train_loss, train_accuracy = runs.curve(folder)[-1]
    metrics = {
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "test_loss": float(f"{logloss(net.predict(X, type='probs'), y).mean():.10g}"),
        "test_accuracy": float(f"{(net.predict(X) == y).mean():.10g}"),
        "digest": runs.digest(described, sha256(data / "test.csv")),
    }
    write(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    draw(folder, table)
    return str(metrics["digest"])


def draw(folder: Path, table: pd.DataFrame) -> None:
    """Draw how the test images activate the hidden nodes of a run folder, and which of them its network gets wrong."""
    positive = runs.settings(folder)["data"]["positive"]
    net, labels, (X, _) = NNet.load(folder / "weights.npz"), table["label"].to_numpy(str), images.split(table, positive)
    some = slice(None, None, 1 + len(X) // 5000)  # enough for histograms
    W1, W2 = net.weights()
    X2 = logistic(np.c_[X[some] / 255, np.ones(len(X[some]))] @ W1)  # (images, h), one image a row
    write(folder / "activations.svg", plots.activations(X2, W2, labels[some], positive))
    write(folder / "mistakes.svg", plots.mistakes(X, labels, net.predict(X, type="probs"), positive))


@interruptible("evaluate")
def main() -> None:
    """Run the stage on the pipeline's run folder."""
    told = runs.noted(runs.PIPELINE)
    try:
        source = runs.settings(runs.PIPELINE)["data"]["source"]
        digest = evaluate(Path("data", source), runs.PIPELINE)
        told["test_sha256"] = sha256(Path("data", source, "test.csv"))
    except (ImagesError, InputError, RunError, OSError) as error:
        sys.exit(f"evaluate: {error}")
    metrics = runs.finish(runs.PIPELINE, {"study": "pipeline", "digest": digest, **told}).metrics
    print(f"train loss {metrics['train_loss']:.4g} nats, test accuracy {metrics['test_accuracy']:.4g}")


if __name__ == "__main__":
    main()
