"""Stage evaluate: the trained network on the test images."""

from __future__ import annotations

import json
from pathlib import Path

from dognet import config as settings
from dognet import images, runs
from dognet.config import Config
from dognet.nnet import NNet, logloss


def evaluate(config: Config, data: Path, folder: Path) -> str:
    """Write metrics.json of the network in ``folder``: train and test loss (nats) and accuracy. Return its digest."""
    X, y = images.split(images.read(data / "test.csv"), config.data.positive)
    net = NNet.load(folder / "weights.npz")
    probs = net.predict(X, type="probs")
    _, train_loss, train_accuracy = runs.points((folder / "curve.csv").read_text().removeprefix(runs.CURVE_HEADER))[-1]
    hashes = [images.sha256(data / name) for name in ("train.csv", "test.csv")]
    metrics = {
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "test_loss": float(f"{logloss(probs, y).mean():.10g}"),
        "test_accuracy": float(f"{(net.predict(X) == y).mean():.10g}"),
        "digest": runs.digest(config, *hashes),
        "test_sha256": hashes[1],
    }
    runs.write(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    return str(metrics["digest"])


def main() -> None:
    """Run the stage with the settings in conf/."""
    config = settings.load(Path())
    info = runs.noted(runs.PIPELINE)
    digest = evaluate(config, Path("data", config.source), runs.PIPELINE)
    run = runs.finish(runs.PIPELINE, {"study": "pipeline", "digest": digest, **info})
    print(f"test accuracy {run.metrics['test_accuracy']:.4g}, train loss {run.metrics['train_loss']:.4g}")
