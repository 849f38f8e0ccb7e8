"""Stage evaluate: the figures of the trained network on the test images."""

from __future__ import annotations

import json
from pathlib import Path

from dognet.conf import compose
from dognet.data import images
from dognet.files import sha256, sha256_once, write
from dognet.interrupt import stage
from dognet.network import logloss
from dognet.runs.digest import digest
from dognet.runs.folder import PIPELINE, RunError, read_config, read_manifest, write_manifest
from dognet.runs.run import Manifest, Metrics, read_curve
from dognet.stages.train import load_network, new_manifest


def evaluate(data: Path, folder: Path) -> Metrics:
    """Write metrics.json of the network in ``folder``: losses in nats and accuracies, with 10 significant digits."""
    settings, identity = read_config(folder)
    X, y = images.split(images.read(data / "test.csv"), identity.positive)
    net = load_network(folder)
    last = read_curve(folder / "curve.csv")[-1]
    metrics = Metrics(
        train_loss=last.train_loss,
        train_accuracy=last.train_accuracy,
        test_loss=rounded(logloss(net.predict(X, type="probs"), y).mean()),
        test_accuracy=rounded((net.predict(X) == y).mean()),
        baseline=rounded(max(y.mean(), 1 - y.mean())),
        digest=digest(settings, identity, sha256_once(data / "test.csv")),
    )
    write(folder / "metrics.json", json.dumps(metrics.model_dump(), indent=1) + "\n")
    return metrics


def rounded(figure: float) -> float:
    """Return a figure with 10 significant digits: another CPU's last bits don't change the file."""
    return float(f"{figure:.10g}")


def trained_manifest(folder: Path) -> Manifest:
    """Return what stage train wrote of the weights in ``folder``; of weights that DVC restored, what they tell."""
    try:
        manifest = read_manifest(folder)
        if manifest.sha256.get("weights.npz") == sha256(folder / "weights.npz"):
            return manifest.model_copy(update={"status": "trained"})
    except RunError:
        pass  # DVC restores its outs, and run.json is none
    settings, identity = read_config(folder)
    described = compose(Path()).model_copy(update={"study": folder.name} | settings.training())
    return new_manifest(described, identity).model_copy(update={"start": None})


def finish(folder: Path, data: Path, manifest: Manifest, metrics: Metrics) -> None:
    """Write run.json of a run whose files are all there."""
    test_sha256 = sha256_once(data / "test.csv")
    update = {"status": "finished", "digest": metrics.digest, "test_sha256": test_sha256}
    write_manifest(folder, manifest.model_copy(update=update))


@stage("evaluate")
def main() -> None:
    """Run the stage on the pipeline's run folder."""
    _, identity = read_config(PIPELINE)
    data = Path("data", identity.source)
    metrics = evaluate(data, PIPELINE)
    finish(PIPELINE, data, trained_manifest(PIPELINE), metrics)
    print(f"train loss {metrics.train_loss:.4g} nats, test accuracy {metrics.test_accuracy:.4g}")


if __name__ == "__main__":
    main()
