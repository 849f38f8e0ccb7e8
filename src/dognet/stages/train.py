"""Stage train: fit the network to the training images and score it on the validation images.

The test images are never read here.
"""

from __future__ import annotations

import io
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dognet.conf import compose
from dognet.data import images
from dognet.files import write
from dognet.interrupt import stage
from dognet.network import Callback, InputError, NNet, PixelWarning, State, cost, scorer
from dognet.runs.digest import identify
from dognet.runs.folder import PIPELINE, RunError, begin, longest_shorter, new_manifest, now, write_manifest, written_at
from dognet.runs.run import ImagesId, Manifest, Run, curve_text
from dognet.settings import Settings, TrainingSettings

Arrays = dict[str, np.ndarray]  # by name
SNAPSHOT_WEIGHTS = 100_000  # a larger network has only one snapshot, the last


def cost_of(settings: TrainingSettings, done: int = 0) -> float:
    """Estimate how much a run has to compute from iteration ``done`` on, in arbitrary units."""
    return cost(**settings.training(), done=done)


def train(
    settings: Settings,
    identity: ImagesId,
    data: Path,
    folder: Path,
    manifest: Manifest,
    *,
    callback: Callback | None = None,
) -> Manifest:
    """Train on ``data``/train.csv and write config.yaml, weights.npz, snapshots.npz and curve.csv into ``folder``.

    No weight depends on ``data``/validation.csv: its images are scored at the recorded iterations. ``callback`` is that
    of the network's ``fit``. If a finished run of the same trajectory with fewer ITERS is beside ``folder``, training
    resumes from it and ends with the same bits; ``force`` trains from the start.
    """
    clock = time.perf_counter()
    X, y = images.split(images.read(data / "train.csv"), settings.data.positive)
    validate = None
    if identity.validation_sha256:
        validation = images.split(images.read(data / "validation.csv"), identity.positive)
        validate = scorer(*validation, **settings.arguments())
    reading = round(time.perf_counter() - clock, 3)
    shorter = None if settings.force else longest_shorter(folder, settings, identity)
    if written_at(folder) is None:  # a run that is there stays until this one is trained
        begin(folder, settings, identity)
    points, snapshots, resume = from_shorter(shorter)
    wanted = snapshot_iterations(settings.ITERS)
    net = NNet()

    def record(iteration: int, loss: float, accuracy: float) -> None:
        points.append((iteration, loss, accuracy, *(validate(*net.weights()) if validate else ())))
        if iteration in wanted:
            snapshots[iteration] = State(*net.weights()).copy().arrays()
        if callback is not None:
            callback(iteration, loss, accuracy)

    threads = settings.threads or os.cpu_count() or 1
    with warnings.catch_warnings(action="ignore", category=PixelWarning):  # fetch has warned of dark images
        net.fit(X, y, **settings.arguments(), callback=record, resume=resume, threads=threads)
    begin(folder, settings, identity)
    net.save(folder / "weights.npz")
    write_snapshots(folder / "snapshots.npz", {k: snapshots[k] for k in sorted(wanted & snapshots.keys())})
    write(folder / "curve.csv", curve_text(points))
    seconds, continued_from = round(time.perf_counter() - clock, 3), shorter.folder.name if shorter else None
    return manifest.model_copy(update={"seconds": seconds, "reading": reading, "continued_from": continued_from})


def from_shorter(shorter: Run | None) -> tuple[list[tuple[float, ...]], dict[int, Arrays], tuple[int, State] | None]:
    """Return the recorded points and snapshots of a shorter run, if any, and the state that training resumes from."""
    if shorter is None:
        return [], {}, None
    done, state = shorter.settings.ITERS, load_network(shorter.folder).state
    assert state is not None
    points = list(shorter.curve().loc[: done - 1].itertuples(name=None))  # the last is recorded again, if at all
    stacked = read_arrays(shorter.folder / "snapshots.npz")
    iterations = stacked.pop("iterations").tolist()
    snapshots = {iteration: {name: stacked[name][k] for name in stacked} for k, iteration in enumerate(iterations)}
    return points, snapshots, (done, state)


def load_network(folder: Path) -> NNet:
    """Return the network of a run folder; RunError where its file is damaged."""
    try:
        return NNet.load(folder / "weights.npz")
    except InputError as error:
        raise RunError(str(error)) from error


def snapshot_iterations(ITERS: int) -> set[int]:
    """Return the iterations whose weights are saved: 0, 10, 30, 100, 300 and so on, and the last."""
    early = [0, *(digit * 10**power for power in range(1, 15) for digit in (1, 3))]
    return {*(iteration for iteration in early if iteration < ITERS), ITERS}


def write_snapshots(path: Path, snapshots: dict[int, Arrays]) -> None:
    """Write the weights after each of some iterations, stacked by name; of a large network only the last."""
    last = max(snapshots)
    if sum(array.size for array in snapshots[last].values()) > SNAPSHOT_WEIGHTS:
        snapshots = {last: snapshots[last]}
    stacked = {name: np.stack([each[name] for each in snapshots.values()]) for name in snapshots[last]}
    write_arrays(path, {"iterations": list(snapshots), **stacked})


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to an .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays, allow_pickle=False)
    write(path, file.getvalue())


def shorten(path: Path) -> None:
    """Round the numbers of an .npz file to 34 of 53 bits, 10 digits: another CPU's last bits don't change the file."""
    arrays = read_arrays(path)
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            mantissa, exponent = np.frexp(array)
            arrays[name] = np.ldexp(np.round(mantissa * 2**34) / 2**34, exponent)
    write_arrays(path, arrays)


def read_arrays(path: Path) -> Arrays:
    """Read the arrays of an .npz file; nothing is ever unpickled."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@stage("train")
def main() -> None:
    """Run the stage with the settings in conf/."""
    settings = compose(Path()).model_copy(update={"force": True})
    data = Path("data", settings.source)
    table = images.read(data / "train.csv")
    identity = identify(settings, data, list(map(str, table.columns[1:])))
    manifest = train(settings, identity, data, PIPELINE, new_manifest(PIPELINE.name, settings, identity, start=now()))
    for name in ("snapshots.npz", "weights.npz"):  # dvc.lock has their hashes, and nothing resumes from them
        shorten(PIPELINE / name)
    write_manifest(PIPELINE, manifest)


if __name__ == "__main__":
    main()
