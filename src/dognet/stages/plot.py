"""Stage plot: the pictures of a run, drawn from its folder and the test images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dognet import pictures
from dognet.data import images
from dognet.errors import ImagesError
from dognet.files import sha256_once
from dognet.interrupt import stage
from dognet.network import logistic
from dognet.runs.folder import PICTURES, PIPELINE, read_config
from dognet.runs.run import Run, read_curve
from dognet.stages.train import load_network, read_arrays


def draw(folder: Path, data: Path, suffix: str = ".svg") -> list[Path]:
    """Draw curve, weights, activations and mistakes of the network in ``folder`` and return the files."""
    settings, identity = read_config(folder)
    table = images.read(data / "test.csv")
    X, y = images.split(table, identity.positive)
    labels = table["label"].to_numpy(str)
    net, curve = load_network(folder), read_curve(folder / "curve.csv")
    snapshots = read_arrays(folder / "snapshots.npz")
    W1, W2 = snapshots["W1"], snapshots["W2"]  # (k, p+1, h), (k, h+1, 1)
    some = slice(None, None, 1 + len(X) // 5000)  # enough for histograms
    H = logistic(np.c_[X[some] / 255, np.ones(len(X[some]))] @ W1[-1])  # (images, h)
    figures = (
        pictures.curve(
            curve.index,
            *(curve[name] for name in curve),
            iteration_is=settings.method.build().iteration,
            baseline=max(y.mean(), 1 - y.mean()),
        ),
        pictures.weights(W1, W2, snapshots["iterations"].tolist()),
        pictures.activations(H, W2[-1], labels[some], identity.positive),
        pictures.mistakes(X, labels, net.predict(X, type="probs"), identity.positive),
    )
    files = [(folder / name).with_suffix(suffix) for name in PICTURES]
    for file, figure in zip(files, figures, strict=True):
        pictures.save(figure, file)
    return files


def plot(run: Run, root: Path, suffix: str = ".svg") -> list[Path]:
    """Draw the pictures of a finished run; ImagesError unless the images that it was tested with are still there."""
    data = root / "data" / run.images.source
    if not (data / "test.csv").is_file() or sha256_once(data / "test.csv") != run.manifest.test_sha256:
        raise ImagesError(
            f"{data / 'test.csv'}: not the images of {os.path.relpath(run.folder)}: the command that trained this run "
            "fetches them again"
        )
    return draw(run.folder, data, suffix)


@stage("plot")
def main() -> None:
    """Run the stage on the pipeline's run folder."""
    _, identity = read_config(PIPELINE)
    draw(PIPELINE, Path("data", identity.source))


if __name__ == "__main__":
    main()
