"""An iteration of minibatches against torch.nn and scikit-learn, on one thread: python bench/methods.py [--quick]."""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from statistics import median

import machine
import numpy as np

BATCH, STEP, MOMENTUM = 32, 0.3, 0.9
SHAPES = [(4000, 4, 4), (1797, 64, 16)]  # images, pixels, hidden nodes: the lecture's, and scikit-learn's digits
WAYS = ("dognet", "torch.nn", "scikit-learn")


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

    torch.set_num_threads(1)
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


def one(way: str, passes: int) -> None:
    """Print microseconds an iteration at each shape as JSON, from two lengths, so that the start does not count."""
    warnings.simplefilter("ignore")  # scikit-learn's, that it has not converged
    train: Callable[..., None] = {"dognet": dognet, "torch.nn": torch_nn, "scikit-learn": scikit_learn}[way]
    spent = {}
    for n, p, h in SHAPES:
        X, y = made_up(n, p)
        train(X, y, h, 1)
        clock = []
        for length in (passes, 3 * passes):
            start = time.process_time()
            train(X, y, h, length)
            clock.append(time.process_time() - start)
        spent[f"{n} x {p}, {h} nodes"] = (clock[1] - clock[0]) / (2 * passes * -(-n // BATCH)) * 1e6
    print(json.dumps(spent))


def main() -> None:
    """Compare the three, interleaved, each in a process of its own."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="once: does it work? Writes nothing")
    parser.add_argument("--one", choices=WAYS, help="train here, and print JSON")
    given = parser.parse_args()
    passes, turns = (2, 1) if given.quick else (20, 5)
    if given.one:
        one(given.one, passes)
        return
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(turns):
        for way in WAYS:
            results[way].append(machine.alone([__file__, "--one", way, *(["--quick"] if given.quick else [])], {}))
    lines = ["| images x pixels | dognet, µs | torch.nn | scikit-learn |", "|---|---|---|---|"]
    for shape in results["dognet"][0]:
        ours = [run[shape] for run in results["dognet"]]
        cells = [f"{median(ours):.0f}"]
        for way in WAYS[1:]:
            theirs = [run[shape] for run in results[way]]
            times = median(other / our for other, our in zip(theirs, ours, strict=True))
            cells.append(f"{median(theirs):.0f}, {times:.2f} times")
        lines.append(f"| {shape} | {' | '.join(cells)} |")
    text = f"{machine.described('numpy', 'torch', 'scikit-learn')}. Medians of {turns}.\n\n" + "\n".join(lines)
    machine.publish("methods", text, quick=given.quick)


if __name__ == "__main__":
    main()
