"""An iteration of gradient descent over images, pixels, hidden nodes and threads: python bench/scaling.py [--quick].

Beside it torch.nn, and four lines of plain NumPy. All three take turns in one process a shape and must end with the
same weights to 1e-9. Then memory.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import machine
import numpy as np
import pandas as pd
from training import Array, Weights, torch_steps

SHAPES = [
    (n, p, h) for n, p, h in itertools.product((4_000, 60_000, 1_000_000), (4, 64, 784), (4, 32, 128)) if n * p < 2e8
]  # images, pixels, hidden nodes: 1,000,000 x 784 would need more than 20 GB for all three
SHAPES += [(10_000, 784, 128), (400_000, 4, 64)]  # what a second core is to be worth there: 1.8 and 1.5 times
COLOURS = {"torch.nn": "#e69f00", "plain NumPy": "#0072b2"}
STEP, THREADS = 0.3, (1, 2)


def made_up(n: int, p: int = 4) -> tuple[Array, Array]:
    """Return n images of p pixels and their classes; what the pixels show doesn't matter here."""
    X = np.random.default_rng(1).random((n, p))
    X *= 255
    return X, X[:, 0] > 128


def dognet_steps(X: Array, y: Array, W1: Array, W2: Array, threads: int) -> Iterator[Callable[[], Weights]]:
    """Do an iteration of dognet's at a time; yield what gives the weights."""
    from dognet.network.blocks import Images, map_on
    from dognet.network.methods.gradient_descent import GradientDescent
    from dognet.network.nnet import with_ones
    from dognet.network.training import State

    state, method = State(W1.copy(), W2.copy()), GradientDescent()
    with map_on(threads) as map_parts:
        images = Images(with_ones(X, float), y.astype(float), W1.shape[1], map_parts)
        while True:
            method.update(state, images, STEP)
            yield lambda: (state.W1, state.W2)


def plain_steps(X: Array, y: Array, W1: Array, W2: Array) -> Iterator[Callable[[], Weights]]:
    """Do an iteration in four lines at a time, one image a row; yield what gives the weights."""
    X1, target = np.hstack([X / 255, np.ones((len(X), 1))]), y[:, None].astype(float)

    def weights() -> Weights:
        return W1, W2

    while True:
        H = 1 / (1 + np.exp(-X1 @ W1))
        dZ2 = (1 / (1 + np.exp(-H @ W2[:-1] - W2[-1])) - target) / len(X1)
        dW1, dW2 = X1.T @ (dZ2 * W2[:-1].T * H * (1 - H)), np.vstack([H.T @ dZ2, dZ2.sum()])
        W1, W2 = W1 - STEP * dW1, W2 - STEP * dW2
        yield weights


def iterations(n: int, p: int, h: int, threads: int, turns: int) -> dict[str, float]:
    """Return the median seconds of an iteration of each: processor time of one thread, wall time of several."""
    from dognet.network.blocks import one_blas_thread

    rng = np.random.default_rng(1)
    start = *made_up(n, p), rng.uniform(-1, 1, (p + 1, h)), rng.uniform(-1, 1, (h + 1, 1))
    steps = {
        "dognet": dognet_steps(*start, threads),
        "torch.nn": torch_steps(*start, STEP),
        "plain NumPy": plain_steps(*start),
    }
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    count = 1
    for turn in range(1 + turns * (3 if n * h < 10**6 else 1)):  # the first one says how many iterations make 0.2 s
        ends = {}
        for name, step in steps.items():
            with one_blas_thread() if name == "dognet" else nullcontext():  # a training does this once
                time.sleep(0.1)  # until the threads of the one before have stopped spinning
                begin = clock()
                *_, weights = itertools.islice(step, count)
                times[name].append((clock() - begin) / count)
                ends[name] = weights()
        for other in (ends["torch.nn"], ends["plain NumPy"]):
            assert all(np.abs(ours - theirs).max() < 1e-9 for ours, theirs in zip(ends["dognet"], other, strict=True))
        count = count if turn else max(1, round(0.2 / times["dognet"][0]))
    return {name: median(seconds[1:]) for name, seconds in times.items()}


def memory(n: int, dtype: str) -> float:
    """Return the peak of a recorded fit, the images themselves included, in float64 matrices of their pixels."""
    from dognet.network import NNet

    fit = {"hiddenNodes": 4, "stepSize": STEP, "seed": 1, "dtype": dtype, "callback": lambda *_: None}
    NNet().fit(*made_up(10_000), ITERS=2, **fit)
    before = machine.memory("VmRSS")
    X, y = made_up(n)
    NNet().fit(X, y, ITERS=2, **fit)
    return (machine.memory("VmHWM") - before) / X.nbytes


def table(seconds: pd.DataFrame) -> str:
    """Return the grid as a Markdown table: dognet's milliseconds, and how many times as long the others take."""
    head, columns = ["images x pixels, hidden nodes"], [seconds.index]
    for threads in THREADS:
        ours = seconds["dognet", threads]
        head += [f"{threads} thread{'s'[: threads > 1]}: dognet, ms", *COLOURS]
        columns.append((1000 * ours).map("{:.3g}".format))
        columns += [(seconds[other, threads] / ours).map("{:.2f} times".format) for other in COLOURS]
    return machine.table(head, zip(*columns, strict=True))


def picture(seconds: pd.DataFrame, path: Path) -> None:
    """Draw how many times as long the others take; right of 1 dognet is ahead."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "dognet", "svg.fonttype": "none"})
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    for axes, threads in zip(figure.subplots(1, len(THREADS), sharey=True), THREADS, strict=True):
        for other, colour in COLOURS.items():
            ratios = seconds[other, threads] / seconds["dognet", threads]
            marker, size = ("o", 9) if other == "torch.nn" else ("D", 5)
            axes.plot(ratios, range(len(ratios)), marker, color=colour, label=other, markersize=size)
        axes.axvline(1, color="0.5", linewidth=1)
        axes.set(xscale="log", xlabel="times as long as dognet", title=f"{threads} thread{'s'[: threads > 1]}")
        axes.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
        axes.set_yticks(range(len(seconds)), seconds.index)
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.axes[0].set_ylabel("images x pixels, hidden nodes")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure time and memory."""
    quick = machine.quick(__doc__)
    turns, n_images = (1, 100_000) if quick else (5, 4_000_000)
    found = {
        (f"{n:,} x {p}, {h}", threads): machine.alone(iterations, n, p, h, threads, turns, threads=threads)
        for n, p, h in (SHAPES[:2] if quick else SHAPES)
        for threads in THREADS
    }
    seconds = pd.DataFrame(found).T.unstack(sort=False)  # a row a shape, a column a name and number of threads
    wide, narrow = (machine.alone(memory, n_images, dtype) for dtype in ("float64", "float32"))
    machine.publish(
        "scaling",
        f"{machine.described('numpy', 'torch')}. Medians of {turns} turns, small ones of {3 * turns}, float64, "
        f"milliseconds an iteration: processor time on one core, wall time on two.\n\n{table(seconds)}\n\n"
        f"A recorded fit of {n_images:,} images of 4 pixels takes at its peak, the images included, "
        f"{wide:.2f} times their float64 matrix, in float32 {narrow:.2f} (at most 3).",
        quick=quick,
    )
    if not quick:
        picture(seconds, machine.DOCS / "performance-scaling.svg")


if __name__ == "__main__":
    main()
