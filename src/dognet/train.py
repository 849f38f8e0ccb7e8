"""Stage train: fit the network to the training images; the test images are never read here."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from dognet import config as settings
from dognet import images, plots, runs
from dognet.config import Config, ConfigError
from dognet.files import sha256, write
from dognet.images import ImagesError
from dognet.interrupt import interruptible
from dognet.nnet import NNet, Report


def train(
    config: Config, data: Path, folder: Path, *, report: Report | None = None, others: Path | None = None
) -> dict[str, Any]:
    """Train on ``data``/train.csv and write config.yaml, weights.npz, curve.csv and the pictures into ``folder``.

    ``report`` is called as report(iteration, loss, accuracy). Where ``others`` holds a finished run of the same
    trajectory with fewer ITERS, training goes on from it, to the same bits. Returns start, seconds and the like, for
    run.json.
    """
    info: dict[str, Any] = {"start": runs.now()}
    clock = time.perf_counter()
    X, y = images.split(images.read(data / "train.csv"), config.data.positive)
    described = runs.describe(config, sha256(data / "train.csv"))
    info["trajectory"] = runs.trajectory(described)
    shorter = runs.longest_before(config, others, info["trajectory"]) if others else None
    runs.begin(folder)
    runs.write_settings(folder, described)
    curve = ""

    def record(iteration: int, loss: float, accuracy: float) -> None:
        nonlocal curve
        curve += runs.curve_row(iteration, loss, accuracy)
        if report is not None:
            report(iteration, loss, accuracy)

    if shorter is None:
        net = NNet()
        net.fit(X, y, config.hiddenNodes, config.stepSize, config.ITERS, config.seed, dtype=config.dtype, report=record)
    else:
        net, done = shorter.net(), int(shorter.config["ITERS"])
        info["continued_from"] = shorter.folder.name
        curve = shorter.curve_before_last()  # its last point is the first to be recorded now, if it is on the schedule
        net.go_on(X, y, config.stepSize, done, config.ITERS, report=record)
    net.save(folder / "weights.npz")
    write(folder / "curve.csv", runs.CURVE_HEADER + curve)
    write(folder / "curve.svg", plots.curve(*zip(*runs.points(curve), strict=True)))
    write(folder / "weights.svg", plots.weights(*net.weights()))
    return info | {"seconds": round(time.perf_counter() - clock, 3)}


@interruptible("train")
def main() -> None:
    """Run the stage with the settings in conf/."""
    try:
        config = settings.load(Path())
        info = train(config, Path("data", config.source), runs.PIPELINE)
    except (ConfigError, ImagesError, FloatingPointError, MemoryError, OSError) as error:
        sys.exit(f"train: {error}")
    runs.note(runs.PIPELINE, info)


if __name__ == "__main__":
    main()
