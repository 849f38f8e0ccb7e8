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
from dognet.network.descent import Report, State
from dognet.network.nnet import NNet


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
    if not (folder / "run.json").is_file():  # a run that is there stays until this one is trained
        runs.begin(folder)
        runs.write_settings(folder, described)
    curve: dict[int, str] = {}  # the rows of curve.csv by iteration

    def record(iteration: int, loss: float, accuracy: float) -> None:
        if iteration in kept and net.state is not None:
            state = net.state.copy()
            snapshots[iteration] = state.W1, state.W2
        curve[iteration] = runs.curve_row(iteration, loss, accuracy)
        if report is not None:
            report(iteration, loss, accuracy)

    net, resume = NNet(), None
    earlier: dict[int, runs.Weights] = {}
    if shorter is not None:
        info["continued_from"] = shorter.folder.name
        done = int(shorter.config["ITERS"])
        curve, earlier = shorter.rows(), shorter.snapshots()
        del curve[done]  # the first to be recorded now, if it is on the schedule
        resume = done, State(*shorter.net().weights())
    snapshots: dict[int, runs.Weights] = {}
    kept = set(kept_iterations(config.ITERS, (X.shape[1] + 2) * config.hiddenNodes + 1))
    snapshots.update({iteration: weights for iteration, weights in earlier.items() if iteration in kept})
    net.fit(
        X, y, config.hiddenNodes, config.stepSize, config.ITERS, config.seed,
        dtype=config.dtype, report=record, resume=resume,
    )  # fmt: skip
    runs.begin(folder)
    runs.write_settings(folder, described)
    net.save(folder / "weights.npz")
    runs.write_snapshots(folder, snapshots)
    write(folder / "curve.csv", runs.CURVE_HEADER + "".join(curve.values()))
    draw(folder)
    return info | {"seconds": round(time.perf_counter() - clock, 3)}


def kept_iterations(ITERS: int, size: int) -> list[int]:
    """Return the iterations whose ``size`` weights are kept: 0, 10, 30, 100, 300 and so on, and the last.

    Of more than 100 000 weights only the last. All are recorded iterations, so that the curve is as if run in one go.
    """
    early = [0, *(digit * 10**power for power in range(1, 15) for digit in (1, 3))]
    return [*(iteration for iteration in early if iteration < ITERS and size <= 100_000), ITERS]


def draw(folder: Path) -> None:
    """Draw the curve and the weights of a run folder."""
    write(folder / "curve.svg", plots.curve(*zip(*runs.curve(folder), strict=True)))
    snapshots = runs.snapshots(folder)
    W1, W2 = zip(*snapshots.values(), strict=True)
    write(folder / "weights.svg", plots.weights(W1, W2, list(snapshots)))


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
