"""One training, (a) to (g): python bench/training.py [--quick].

The lecture's settings on its 4000 images (DOGNET_LECTURE_DATA; without it on generated ones), float64, full batch.
Each training is a process of its own on one core, and all take turns. Each must reach dognet's weights to 1e-6.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import machine
import numpy as np
import pandas as pd
import yaml
from machine import ROOT

Array = np.ndarray[Any, Any]
Weights = tuple[Array, Array]  # W1 (p+1, h), W2 (h+1, 1)
Result = tuple[float, Array, Array]  # seconds spent compiling, W1, W2

SETTINGS = yaml.safe_load((ROOT / "conf/config.yaml").read_text(encoding="utf-8"))


def dognet(X: Array, y: Array, start: Weights, stepSize: float, ITERS: int) -> Result:
    """Train with NNet.fit, recording loss and accuracy as usual."""
    from dognet.network import NNet

    curve = []
    net = NNet()
    net.fit(X, y, start[0].shape[1], stepSize, ITERS, SETTINGS["seed"], callback=lambda *point: curve.append(point))
    return 0, net.W1, net.W2


def lecture(X: Array, y: Array, start: Weights, stepSize: float, ITERS: int) -> Result:
    """Take one gradient an image, then their mean; loss and accuracy every iteration."""

    def logistic(Z: Array) -> Array:
        return 1 / (1 + np.exp(-Z))

    ones = np.ones((len(X), 1))
    X1, y = np.hstack([X / 255, ones]), y[:, None].astype(float)
    W1, W2 = start
    curve = []
    for _ in range(ITERS):
        X2 = np.hstack([logistic(X1 @ W1), ones])
        yhat = logistic(X2 @ W2)
        loss = -y * np.log(yhat) - (1 - y) * np.log(1 - yhat)
        curve.append((loss.mean(), ((yhat > 0.5) == y).mean()))
        dZ2 = (yhat - y)[:, None, :]  # (n, 1, 1)
        dW2 = X2[:, :, None] @ dZ2  # (n, h+1, 1)
        dX2 = dZ2 @ W2.T  # (n, 1, h+1)
        dZ1 = dX2[:, :, :-1] * (X2 * (1 - X2))[:, None, :-1]  # (n, 1, h)
        dW1 = X1[:, :, None] @ dZ1  # (n, p+1, h)
        W1 = W1 - stepSize * dW1.mean(axis=0)
        W2 = W2 - stepSize * dW2.mean(axis=0)
    return 0, W1, W2


def torch_steps(X: Array, y: Array, W1: Array, W2: Array, stepSize: float) -> Iterator[Callable[[], Weights]]:
    """Do an iteration of two Linear layers with BCEWithLogitsLoss and SGD at a time; yield what gives the weights."""
    import torch
    from torch import nn

    first, second = nn.Linear(X.shape[1], W1.shape[1]), nn.Linear(W1.shape[1], 1)
    model = nn.Sequential(first, nn.Sigmoid(), second).double()
    with torch.no_grad():
        for layer, W in ((first, W1), (second, W2)):
            layer.weight.copy_(torch.from_numpy(W[:-1].T))
            layer.bias.copy_(torch.from_numpy(W[-1]))
    images, target = torch.from_numpy(X / 255), torch.from_numpy(y[:, None].astype(float))
    criterion, optimizer = nn.BCEWithLogitsLoss(), torch.optim.SGD(model.parameters(), lr=stepSize)

    def weights() -> Weights:
        W1, W2 = (torch.vstack([layer.weight.T, layer.bias]).detach().numpy() for layer in (first, second))
        return W1, W2

    while True:
        optimizer.zero_grad()
        criterion(model(images), target).backward()
        optimizer.step()
        yield weights


def torch_nn(X: Array, y: Array, start: Weights, stepSize: float, ITERS: int) -> Result:
    """Train two Linear layers with BCEWithLogitsLoss and SGD."""
    *_, weights = islice(torch_steps(X, y, *start, stepSize), ITERS)
    return 0, *weights()


def torch_by_hand(X: Array, y: Array, start: Weights, stepSize: float, ITERS: int) -> Result:
    """Write the gradient out; images along the fast axis, every buffer reused."""
    import torch

    n, h = len(X), start[0].shape[1]
    X1 = torch.from_numpy(np.vstack([X.T / 255, np.ones(n)]))  # (p+1, n)
    y = torch.from_numpy(y.astype(float))
    W1, W2 = (torch.from_numpy(W.T.copy()) for W in start)  # (h, p+1), (1, h+1)
    X2 = torch.ones(h + 1, n, dtype=y.dtype)
    H, dZ1, dZ2 = X2[:-1], torch.empty(h, n, dtype=y.dtype), torch.empty(1, n, dtype=y.dtype)
    with torch.inference_mode():
        for _ in range(ITERS):
            torch.mm(W1, X1, out=H).sigmoid_()
            torch.mm(W2, X2, out=dZ2).sigmoid_().sub_(y)
            torch.ops.aten.sigmoid_backward.grad_input(dZ2, H, grad_input=dZ1)  # dZ2 * H * (1 - H)
            dW1 = (dZ1 @ X1.T).mul_(W2[:, :-1].T)
            W2.addmm_(dZ2, X2.T, alpha=-stepSize / n)
            W1.add_(dW1, alpha=-stepSize / n)
    return 0, W1.numpy().T, W2.numpy().T


def torch_by_rows(X: Array, y: Array, start: Weights, stepSize: float, ITERS: int) -> Result:
    """Write the gradient out as textbooks do, one image a row; every buffer reused."""
    import torch

    n, h = len(X), start[0].shape[1]
    X1 = torch.from_numpy(np.hstack([X / 255, np.ones((n, 1))]))  # (n, p+1)
    y = torch.from_numpy(y[:, None].astype(float))
    W1, W2 = (torch.from_numpy(W.copy()) for W in start)
    H, dZ1, dZ2 = (torch.empty(n, columns, dtype=y.dtype) for columns in (h, h, 1))
    with torch.inference_mode():
        for _ in range(ITERS):
            torch.mm(X1, W1, out=H).sigmoid_()
            torch.addmm(W2[-1], H, W2[:-1], out=dZ2).sigmoid_().sub_(y)
            torch.mm(dZ2, W2[:-1].T, out=dZ1).mul_(H)
            dZ1.addcmul_(dZ1, H, value=-1)  # dZ2 W2ᵀ * H * (1 - H)
            W1.addmm_(X1.T, dZ1, alpha=-stepSize / n)
            W2[:-1].addmm_(H.T, dZ2, alpha=-stepSize / n)
            W2[-1].sub_(dZ2.sum(), alpha=stepSize / n)
    return 0, W1.numpy(), W2.numpy()


def jax_compiled(iteration: Callable[..., Any], X: Array, y: Array, start: Weights, ITERS: int) -> Result:
    """Compile ITERS times ``iteration(W1, W2, X1, y)`` as one loop, and run it."""
    import jax

    jax.config.update("jax_enable_x64", True)
    arrays = np.vstack([X.T / 255, np.ones(len(X))]), y.astype(float)  # X1 (p+1, n), y (n,)

    @jax.jit
    def train(W1: Any, W2: Any, *arrays: Any) -> Any:
        return jax.lax.fori_loop(0, ITERS, lambda _, weights: iteration(*weights, *arrays), (W1, W2))

    begin = time.process_time()
    compiled = train.lower(*start, *arrays).compile()
    seconds = time.process_time() - begin
    W1, W2 = compiled(*start, *arrays)
    return seconds, np.asarray(W1), np.asarray(W2)


def jax_grad(X: Array, y: Array, start: Weights, stepSize: float, ITERS: int) -> Result:
    """Let jax.grad derive the gradient and jax.jit compile the loop."""
    import jax
    import jax.numpy as jnp

    def loss(weights: Any, X1: Any, y: Any) -> Any:
        W1, W2 = weights
        Z2 = W2[:-1, 0] @ jax.nn.sigmoid(W1.T @ X1) + W2[-1]
        return jnp.mean(jax.nn.softplus(Z2) - y * Z2)

    def iteration(W1: Any, W2: Any, X1: Any, y: Any) -> Any:
        return jax.tree.map(lambda W, dW: W - stepSize * dW, (W1, W2), jax.grad(loss)((W1, W2), X1, y))

    return jax_compiled(iteration, X, y, start, ITERS)


def jax_by_hand(X: Array, y: Array, start: Weights, stepSize: float, ITERS: int) -> Result:
    """Write the gradient out so that the compiler makes it few passes over the images."""
    import jax
    import jax.numpy as jnp

    def iteration(W1: Any, W2: Any, X1: Any, y: Any) -> Any:
        H = jax.nn.sigmoid(W1.T @ X1)  # (h, n)
        dZ2 = jax.nn.sigmoid(W2[:-1, 0] @ H + W2[-1]) - y  # (n,)
        dW1 = W2[:-1].T * (X1 @ (dZ2 * H * (1 - H)).T)  # (p+1, h)
        dW2 = jnp.append(H @ dZ2, dZ2.sum())[:, None]  # (h+1, 1)
        return W1 - stepSize / len(y) * dW1, W2 - stepSize / len(y) * dW2

    return jax_compiled(iteration, X, y, start, ITERS)


def scikit_learn(X: Array, y: Array, start: Weights, stepSize: float, ITERS: int) -> Result:
    """Set MLPClassifier to plain gradient descent."""
    from sklearn.neural_network import MLPClassifier

    W1, W2 = start

    class FromWeights(MLPClassifier):
        def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[Array, Array]:
            W = W1 if fan_out == W1.shape[1] and fan_in == len(W1) - 1 else W2
            return W[:-1].astype(dtype), W[-1].astype(dtype)

    net = FromWeights(
        (W1.shape[1],), activation="logistic", solver="sgd", alpha=0, batch_size=len(X), learning_rate="constant",
        learning_rate_init=stepSize, max_iter=ITERS, n_iter_no_change=ITERS + 1, shuffle=False, momentum=0,
        nesterovs_momentum=False,
    )  # fmt: skip
    net.fit(X / 255, y)
    W1, W2 = (np.vstack(pair) for pair in zip(net.coefs_, net.intercepts_, strict=True))
    return 0, W1, W2


# what it is, and how many times dognet's seconds it is to take at least
WAYS: dict[str, tuple[Callable[..., Result], str, float]] = {
    "a": (dognet, "dognet, recording as usual", 1),
    "b": (lecture, "the lecture's formulation", 7),
    "c": (torch_nn, "torch.nn and SGD", 3.5),
    "d": (torch_by_rows, "torch by hand, one image a row", 1),
    "D": (torch_by_hand, "torch by hand, laid out like dognet", 1),
    "e": (jax_grad, "jax.grad, loop compiled", 1.1),
    "f": (jax_by_hand, "JAX by hand, loop compiled", 1 / 1.4),
    "g": (scikit_learn, "scikit-learn's MLPClassifier", 2.5),
}


def images() -> tuple[Array, Array]:
    """Return the lecture's X (4000, 4) and y, or as many generated images."""
    from dognet.data import generate, images

    folder = os.environ.get("DOGNET_LECTURE_DATA")
    if folder:
        table = images.read(Path(folder) / "simple_images_train.csv")
    else:
        table = generate.generate(4000, np.random.default_rng(33))
    return images.split(table, "checkerboard")


def training(way: str, ITERS: int) -> dict[str, Any]:
    """Train once; return seconds and weights."""
    from dognet.network import NNet

    X, y = images()
    net = NNet()
    net.fit(X, y, SETTINGS["hiddenNodes"], ITERS=0, seed=SETTINGS["seed"])
    train, _, _ = WAYS[way]
    train(X, y, (net.W1.copy(), net.W2.copy()), SETTINGS["stepSize"], 1)  # imports and first calls are not timed
    start = time.process_time()
    compiling, W1, W2 = train(X, y, (net.W1, net.W2), SETTINGS["stepSize"], ITERS)
    return {"seconds": time.process_time() - start, "compiling": compiling, "W1": W1, "W2": W2}


def bare(file: Path, points: Iterable[tuple[int, float, int]], ITERS: int) -> float:
    """Return the seconds of trainings one after another, each with its hiddenNodes, stepSize and seed."""
    from dognet.data import images
    from dognet.network import NNet

    X, y = images.split(images.read(file), "checkerboard")
    start = time.perf_counter()
    for hiddenNodes, stepSize, seed in points:
        NNet().fit(X, y, hiddenNodes, stepSize, ITERS, seed)
    return time.perf_counter() - start


def row(way: str, results: dict[tuple[str, str], pd.DataFrame]) -> list[str]:
    """Return the cells of one way; stop where it doesn't reach dognet's weights."""
    _, name, target = WAYS[way]
    cells, distances = [f"({way}) {name}"], []
    for mode in machine.modes():
        runs, ours = results[mode, way], results[mode, "a"]
        compiling = runs.compiling.median()
        cells.append(f"{runs.seconds.median():.2f}" + (f", {compiling:.2f}" if compiling else ""))
        cells.append(f"{(runs.seconds / ours.seconds).median():.2f}")
        distances += [np.abs(difference).max() for W in ("W1", "W2") for difference in runs[W] - ours[W]]
    if not max(distances) <= 1e-6:
        sys.exit(f"({way}) ends {max(distances):.1e} away from dognet's weights, must be within 1e-6")
    return [*cells, f"{target:.2f}", f"{max(distances):.0e}"]


def main() -> None:
    """Let all ways take turns in every mode."""
    quick = machine.quick(__doc__)
    turns, ITERS = (1, 200) if quick else (5, SETTINGS["ITERS"])
    cases = {
        (mode, way): partial(machine.alone, training, way, ITERS, mode=environment)
        for mode, environment in machine.modes().items()
        for way in WAYS
    }
    results = machine.take_turns(turns, cases)
    heads = (head for mode in machine.modes() for head in (f"{mode}: seconds, compiling", "times dognet"))
    table = machine.table(["", *heads, "to reach", "weights off"], [row(way, results) for way in WAYS])
    described = machine.described("numpy", "torch", "jax", "scikit-learn")
    about = f"Medians of {turns} trainings each, one core, seconds of processor time."
    machine.publish("training", f"{described}. {about}\n\n{table}", quick=quick)


if __name__ == "__main__":
    main()
