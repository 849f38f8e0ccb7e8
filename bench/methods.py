"""An iteration of minibatches against torch.nn and scikit-learn, on one thread: python bench/methods.py [--quick]."""

from __future__ import annotations

import time
from functools import partial

import machine
import numpy as np

BATCH, STEP, MOMENTUM = 32, 0.3, 0.9
SHAPES = [(4000, 4, 4), (1797, 64, 16)]  # images, pixels, hidden nodes: the lecture's, and scikit-learn's digits


def made_up(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n images of p pixels, 0 to 1, and their labels."""
    X = np.random.default_rng(1).random((n, p))
    return X, X[:, 0] > 0.5


def dognet(X: np.ndarray, y: np.ndarray, h: int, passes: int) -> None:
    """Train with dognet, recording included."""
    from dognet.network import NNet
    from dognet.network.methods.minibatches import Minibatches

    method, iterations = Minibatches(BATCH, MOMENTUM), passes * -(-len(y) // BATCH)
    NNet().fit(X * 255, y, h, STEP, iterations, 1, method=method, callback=lambda *_: None)


def torch_nn(X: np.ndarray, y: np.ndarray, h: int, passes: int) -> None:
    """Train with two Linear layers, BCEWithLogitsLoss and SGD."""
    import torch
    from torch import nn

    images, labels = torch.tensor(X), torch.tensor(y, dtype=torch.float64)[:, None]
    net = nn.Sequential(nn.Linear(X.shape[1], h), nn.Sigmoid(), nn.Linear(h, 1)).double()
    optimizer, loss = torch.optim.SGD(net.parameters(), lr=STEP, momentum=MOMENTUM), nn.BCEWithLogitsLoss()
    for _ in range(passes):
        for batch in torch.randperm(len(y)).split(BATCH):
            optimizer.zero_grad()
            loss(net(images[batch]), labels[batch]).backward()
            optimizer.step()


def scikit_learn(X: np.ndarray, y: np.ndarray, h: int, passes: int) -> None:
    """Train with MLPClassifier."""
    from sklearn.neural_network import MLPClassifier

    MLPClassifier(
        h, activation="logistic", solver="sgd", alpha=0, batch_size=BATCH, learning_rate_init=STEP, momentum=MOMENTUM,
        nesterovs_momentum=False, max_iter=passes, tol=0, n_iter_no_change=passes + 1,
    ).fit(X, y)  # fmt: skip


WAYS = {"dognet": dognet, "torch.nn": torch_nn, "scikit-learn": scikit_learn}


def iterations(way: str, passes: int) -> dict[str, float]:
    """Return microseconds an iteration at each shape, from two lengths, so that the start does not count."""
    train, spent = WAYS[way], {}
    for n, p, h in SHAPES:
        X, y = made_up(n, p)
        train(X, y, h, 1)
        clock = []
        for length in (passes, 3 * passes):
            start = time.process_time()
            train(X, y, h, length)
            clock.append(time.process_time() - start)
        spent[f"{n} x {p}, {h} nodes"] = (clock[1] - clock[0]) / (2 * passes * -(-n // BATCH)) * 1e6
    return spent


def main() -> None:
    """Compare the three, interleaved, each in a process of its own."""
    quick = machine.quick(__doc__)
    passes, turns = (2, 1) if quick else (20, 5)
    results = machine.take_turns(turns, {way: partial(machine.alone, iterations, way, passes) for way in WAYS})
    ours, *others = results.values()
    rows = [[shape, f"{ours[shape].median():.0f}"] for shape in ours]
    for theirs in others:
        for row, (shape, times) in zip(rows, (theirs / ours).median().items(), strict=True):
            row.append(f"{theirs[shape].median():.0f}, {times:.2f} times")
    table = machine.table(["images x pixels", "dognet, µs", "torch.nn", "scikit-learn"], rows)
    described = machine.described("numpy", "torch", "scikit-learn")
    machine.publish("methods", f"{described}. Medians of {turns}.\n\n{table}", quick=quick)


if __name__ == "__main__":
    main()
