"""What each trick of the hot loop buys: python bench/tricks.py [--quick]."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import machine
import numpy as np
from scaling import made_up

Array = np.ndarray[Any, Any]
STEP = 0.3


def logistic(Z: Array) -> Array:
    """Return logistic(Z) as a new array."""
    return 1 / (1 + np.exp(-Z))


def rows(X1: Array, y: Array, W1: Array, W2: Array, ITERS: int) -> None:
    """Train with one image a row, as on paper."""
    X1, y, n = np.ascontiguousarray(X1.T), y[:, None], len(y)
    for _ in range(ITERS):
        H = logistic(X1 @ W1)  # (n, h)
        X2 = np.hstack([H, np.ones((n, 1))])
        dZ2 = logistic(X2 @ W2) - y
        dZ1 = dZ2 @ W2[:-1].T * H * (1 - H)
        W1 -= STEP / n * X1.T @ dZ1
        W2 -= STEP / n * X2.T @ dZ2


def columns(X1: Array, y: Array, W1: Array, W2: Array, ITERS: int) -> None:
    """Train with the images along the last axis."""
    n = len(y)
    for _ in range(ITERS):
        H = logistic(W1.T @ X1)  # (h, n)
        X2 = np.vstack([H, np.ones(n)])
        dZ2 = logistic(W2.T @ X2) - y
        dZ1 = W2[:-1] * dZ2 * H * (1 - H)
        W1 -= STEP / n * X1 @ dZ1.T
        W2 -= STEP / n * X2 @ dZ2.T


def whole(X1: Array, y: Array, W1: Array, W2: Array, ITERS: int) -> None:
    """Train with dognet's loop, all images in one block."""
    from dognet.network import blocks

    blocks.CACHE, blocks.PARTS = 2**62, 1
    dognet(X1, y, W1, W2, ITERS)


def dognet(X1: Array, y: Array, W1: Array, W2: Array, ITERS: int) -> None:
    """Train with dognet's loop."""
    from dognet.network.blocks import Images
    from dognet.network.methods.gradient_descent import GradientDescent
    from dognet.network.training import State, train

    train(GradientDescent(), Images(X1, y), State(W1, W2), STEP, range(ITERS), None)


WAYS: dict[str, tuple[str, Callable[..., None]]] = {
    "rows": ("one image a row, new arrays", rows),
    "columns": ("+ images along the last axis", columns),
    "whole": ("+ in place, signs and W2 moved to the weights", whole),
    "dognet": ("+ blocks that fit the cache: dognet", dognet),
}


def one(way: str, n: int) -> None:
    """Time one loop here; print nanoseconds an image and iteration, and the weights, as JSON."""
    X, y = made_up(n)
    X1 = np.vstack([X.T / 255, np.ones(n)])
    rng = np.random.default_rng(1)
    W1, W2 = rng.uniform(-1, 1, (5, 4)), rng.uniform(-1, 1, (5, 1))
    WAYS[way][1](X1, y.astype(float), W1, W2, 1)
    ITERS = max(5, 4_000_000 // n)
    start = time.process_time()
    WAYS[way][1](X1, y.astype(float), W1, W2, ITERS)
    print(json.dumps({"ns": (time.process_time() - start) / ITERS / n * 1e9, "W1": W1.tolist()}))


def main() -> None:
    """Compare the loops, small and large, in every mode."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="once: does it work? Writes nothing")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "IMAGES"), help="time one loop here")
    given = parser.parse_args()
    if given.one:
        one(given.one[0], int(given.one[1]))
        return
    cases = [(mode, n) for mode in machine.modes() for n in (4_000, 400_000)]
    found: dict[Any, list[float]] = {(way, *case): [] for way in WAYS for case in cases}
    for _ in range(1 if given.quick else 5):
        for mode, n in cases:
            weights = []
            for way in WAYS:
                result = machine.alone([__file__, "--one", way, str(n)], machine.modes()[mode])
                found[way, mode, n].append(result["ns"])
                weights.append(result["W1"])
            assert np.ptp(weights, axis=0).max() < 1e-9, "the loops must reach the same weights"
    lines = [f"| | {' | '.join(f'{mode}, {n} images' for mode, n in cases)} |", "|---" * (1 + len(cases)) + "|"]
    for way, (name, _) in WAYS.items():
        lines.append(f"| {name} | {' | '.join(f'{median(found[way, *case]):.1f}' for case in cases)} |")
    if given.quick:
        print("\n".join(lines))
    else:
        machine.publish("tricks", f"{machine.described('numpy')}. ns an image and iteration.\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
