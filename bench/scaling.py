"""How time and memory grow with images and hidden nodes: python bench/scaling.py [--quick]."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import machine
import numpy as np

IMAGES = [4_000, 40_000, 400_000, 4_000_000]  # at 4 hidden nodes
NODES = [1, 2, 4, 8, 16, 32, 64, 128, 256]  # at 4000 images
WORK = 16_000_000  # hidden values to compute in one measurement


def made_up(n: int) -> tuple[Any, Any]:
    """Return n images of 4 pixels and their classes; what the pixels show doesn't matter here."""
    X = np.random.default_rng(1).random((n, 4))
    X *= 255
    return X, X[:, 0] > 128


def loop(n: int, h: int, dtype: str) -> float:
    """Return nanoseconds an image and iteration in the hot loop."""
    from dognet.network.blocks import Images
    from dognet.network.methods.gradient_descent import GradientDescent
    from dognet.network.training import State, train

    X, y = made_up(n)
    X1 = np.vstack([X.T / 255, np.ones(n)]).astype(dtype)
    rng = np.random.default_rng(1)
    W1, W2 = rng.uniform(-1, 1, (5, h)).astype(dtype), rng.uniform(-1, 1, (h + 1, 1)).astype(dtype)
    iterations = max(3, WORK // (n * h))
    images, state = Images(X1, y.astype(dtype)), State(W1, W2)
    train(GradientDescent(), images, state, 0.3, range(1), None)
    start = time.process_time()
    train(GradientDescent(), images, state, 0.3, range(iterations), None)
    return (time.process_time() - start) / iterations / n * 1e9


def memory(n: int, dtype: str) -> float:
    """Return the peak of a recorded fit, the images themselves included, in float64 matrices of their pixels."""
    from dognet.network import NNet

    fit = {"hiddenNodes": 4, "stepSize": 0.3, "seed": 1, "dtype": dtype, "report": lambda *_: None}
    NNet().fit(*made_up(10_000), ITERS=2, **fit)
    before = machine.memory("VmRSS")
    X, y = made_up(n)
    NNet().fit(X, y, ITERS=2, **fit)
    return (machine.memory("VmHWM") - before) / X.nbytes


def digest(n: int, h: int, dtype: str) -> str:
    """Return the digest of the weights after ten iterations."""
    from dognet.network import NNet

    net = NNet()
    net.fit(*made_up(n), hiddenNodes=h, stepSize=0.3, ITERS=10, seed=1, dtype=dtype)
    return hashlib.sha256(net.W1.tobytes() + net.W2.tobytes()).hexdigest()


def same_bits() -> int:
    """Return how many shapes give the same weights with 1 thread and with all cores; stop at one that doesn't."""
    shapes = [(n, h, dtype) for n in (4_000, 100_001) for h in (1, 4, 64, 256) for dtype in ("float64", "float32")]
    for n, h, dtype in shapes:
        digests = set()
        for threads in (1, os.cpu_count() or 1):
            command = [sys.executable, __file__, "--one", "digest", str(n), str(h), dtype]
            env = os.environ | {"OPENBLAS_NUM_THREADS": str(threads)}
            digests.add(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
        if len(digests) > 1:
            sys.exit(f"{n} images, {h} hidden nodes, {dtype}: other weights with more BLAS threads")
    return len(shapes)


def one(what: str, n: int, h: int, dtype: str) -> None:
    """Measure one thing in this process; print it as JSON."""
    print(json.dumps({"loop": lambda: loop(n, h, dtype), "digest": lambda: digest(n, h, dtype),
                      "memory": lambda: memory(n, dtype)}[what]()))  # fmt: skip


def measure(turns: int, IMAGES: list[int], NODES: list[int]) -> dict[tuple[str, int, int, str], float]:
    """Return the median nanoseconds for each (mode, images, nodes, dtype), all taking turns."""
    shapes = [(n, 4) for n in IMAGES] + [(4_000, h) for h in NODES if h != 4]
    cases = [(mode, n, h, dtype) for mode in machine.modes() for n, h in shapes for dtype in ("float64", "float32")]
    found: dict[tuple[str, int, int, str], list[float]] = {case: [] for case in cases}
    for _ in range(turns):
        for mode, n, h, dtype in cases:
            arguments = [__file__, "--one", "loop", str(n), str(h), dtype]
            found[mode, n, h, dtype].append(machine.alone(arguments, machine.modes()[mode]))
    return {case: median(values) for case, values in found.items()}


def tables(found: dict[tuple[str, int, int, str], float], IMAGES: list[int], NODES: list[int]) -> str:
    """Return time over images and over hidden nodes as Markdown tables."""
    modes = list(machine.modes())
    head = " | ".join(f"{mode}: float64, ns | float32, ns | ratio" for mode in modes)
    parts = []
    for title, shapes in (("images (4 hidden nodes)", [(n, 4) for n in IMAGES]),
                          ("hidden nodes (4000 images), ns a node", [(4_000, h) for h in NODES])):  # fmt: skip
        lines = [f"| {title} | {head} |", "|---" * (1 + 3 * len(modes)) + "|"]
        for n, h in shapes:
            by = h if "a node" in title else 1
            pairs = [(found[mode, n, h, "float64"] / by, found[mode, n, h, "float32"] / by) for mode in modes]
            cells = [f"{wide:.2f} | {narrow:.2f} | {wide / narrow:.2f}" for wide, narrow in pairs]
            lines.append(f"| {h if 'a node' in title else n} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def picture(found: dict[tuple[str, int, int, str], float], path: Path) -> None:
    """Draw time over images and over hidden nodes; a level line is growth in proportion."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "dognet", "svg.fonttype": "none"})
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for mode, colour in zip(machine.modes(), ("#0072b2", "#e69f00"), strict=False):
        for dtype, style in (("float64", "o-"), ("float32", "o--")):
            by_images = [found[mode, n, 4, dtype] for n in IMAGES]
            by_nodes = [found[mode, 4_000, h, dtype] / h for h in NODES]
            left.plot(IMAGES, by_images, style, color=colour, label=f"{mode}, {dtype}")
            right.plot(NODES, by_nodes, style, color=colour)
    for axes, label, unit in ((left, "images, at 4 hidden nodes", "ns an image and iteration"),
                              (right, "hidden nodes, at 4000 images", "ns a node, image and iteration")):  # fmt: skip
        axes.set(xscale="log", xlabel=label, ylabel=unit)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    right.set_xscale("log", base=2)
    left.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure time, memory and thread independence."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="few shapes, once: does it work? Writes nothing")
    parser.add_argument("--one", nargs=4, metavar=("WHAT", "IMAGES", "NODES", "DTYPE"), help="measure here")
    given = parser.parse_args()
    if given.one:
        what, n, h, dtype = given.one
        one(what, int(n), int(h), dtype)
        return
    if given.quick:
        print(tables(measure(1, [4_000, 40_000], [4, 16]), [4_000, 40_000], [4, 16]))
        return
    found = measure(5, IMAGES, NODES)
    first = next(iter(machine.modes().values()))
    peaks = {dtype: machine.alone([__file__, "--one", "memory", str(IMAGES[-1]), "4", dtype], first)
             for dtype in ("float64", "float32")}  # fmt: skip
    growth = ", ".join(
        f"{mode} {found[mode, IMAGES[-1], 4, 'float64'] / found[mode, IMAGES[0], 4, 'float64']:.2f}"
        for mode in machine.modes()
    )
    machine.publish(
        "scaling",
        f"{machine.described('numpy')}. Medians of 5, nanoseconds an image and iteration, one core.\n\n"
        f"{tables(found, IMAGES, NODES)}\n\n"
        f"Per image, 4 million images cost so many times as much as 4 thousand (float64; at most 1.15): {growth}. "
        f"A recorded fit of 4 million takes at its peak, the images included, {peaks['float64']:.2f} times their "
        f"float64 matrix, in float32 {peaks['float32']:.2f} (at most 3). "
        f"The weights are the same to the bit with 1 and {os.cpu_count()} BLAS threads, in {same_bits()} shapes.",
    )
    picture(found, machine.DOCS / "performance-scaling.svg")


if __name__ == "__main__":
    main()
