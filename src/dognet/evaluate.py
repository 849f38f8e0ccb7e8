"""Stage evaluate: the trained network on the test images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dognet import images, runs
from dognet.files import sha256, write
from dognet.images import ImagesError
from dognet.interrupt import interruptible
from dognet.nnet import InputError, NNet, logloss
from dognet.runs import RunError


def evaluate(data: Path, folder: Path) -> str:
    """Write metrics.json of the network in ``folder``: train and test loss (nats) and accuracy. Return its digest."""
    described = runs.settings(folder)
    X, y = images.split(images.read(data / "test.csv"), described["data"]["positive"])
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
    return str(metrics["digest"])


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
