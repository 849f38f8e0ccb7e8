"""Stage evaluate: write the metrics of the trained network; those of the test images are computed here."""

from __future__ import annotations

import json
from pathlib import Path

from dognet.data import images
from dognet.files import sha256_once, write
from dognet.interrupt import stage
from dognet.network import logloss
from dognet.runs.digest import digest
from dognet.runs.folder import PIPELINE, finish, read_config, trained_manifest
from dognet.runs.run import Metrics, read_curve
from dognet.stages.train import load_network

UNEVEN = 0.7  # the baseline above which balanced accuracy is given too: the smaller class has less than 30 %


def evaluate(data: Path, folder: Path) -> Metrics:
    """Write metrics.json of the network in ``folder``: losses in nats and accuracies, with 10 significant digits."""
    settings, identity = read_config(folder)
    X, y = images.split(images.read(data / "test.csv"), identity.positive)
    yhat = load_network(folder).predict(X, type="probs")
    found = yhat > 0.5
    baseline = max(y.mean(), 1 - y.mean())
    metrics = Metrics(
        **read_curve(folder / "curve.csv").iloc[-1].map(rounded),
        test_loss=rounded(logloss(yhat, y).mean()),
        test_accuracy=rounded((found == y).mean()),
        baseline=rounded(baseline),
        balanced_accuracy=rounded((found[y].mean() + (~found[~y]).mean()) / 2) if baseline > UNEVEN else None,
        true_positives=int((found & y).sum()),
        false_negatives=int((~found & y).sum()),
        false_positives=int((found & ~y).sum()),
        true_negatives=int((~found & ~y).sum()),
        digest=digest(settings, identity, sha256_once(data / "test.csv")),
    )
    write(folder / "metrics.json", json.dumps(metrics.model_dump(exclude_none=True), indent=1) + "\n")
    return metrics


def rounded(figure: float) -> float:
    """Round a number to 10 significant digits, so that another CPU's last bits don't change the file."""
    return float(f"{figure:.10g}")


@stage("evaluate")
def main() -> None:
    """Run the stage on the pipeline's run folder."""
    _, identity = read_config(PIPELINE)
    data = Path("data", identity.source)
    metrics = evaluate(data, PIPELINE)
    finish(PIPELINE, data / "test.csv", trained_manifest(PIPELINE))
    print(metrics.summary())


if __name__ == "__main__":
    main()
