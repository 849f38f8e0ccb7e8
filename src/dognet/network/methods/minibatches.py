"""Minibatches, or stochastic gradient descent (lecture 3.6): every update looks at a few images only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dognet.network.blocks import Images
from dognet.network.checks import check_all, check_share, check_whole
from dognet.network.training import Method, State


@dataclass(frozen=True)
class Minibatches(Method):
    """An iteration takes one step against the gradient on ``batchSize`` images.

    A pass goes through all images in random order, each once; its last batch has what is left. With momentum, a step is
    ``momentum`` times the last one, less ``stepSize`` times the gradient.
    """

    batchSize: int
    momentum: float = 0.0

    dense = 20

    def __post_init__(self) -> None:
        """Check the settings."""
        check_all(
            lambda: check_whole("batchSize", self.batchSize, at_least=1),
            lambda: check_share("momentum", self.momentum),
        )

    @property
    def iteration(self) -> str:
        """What one iteration is."""
        return f"an update on {self.batchSize} images"

    def start(self, state: State, images: Images) -> None:
        """Begin without momentum, and at the end of a pass: the first update shuffles the images."""
        order, position = np.arange(len(images)), np.array(len(images))
        state.memory |= {"step1": 0 * state.W1, "step2": 0 * state.W2, "order": order, "position": position}

    def update(self, state: State, images: Images, stepSize: float) -> None:
        """Take a step on the next images of the pass."""
        assert state.generator is not None
        memory, position = state.memory, int(state.memory["position"])
        if position >= len(images):
            memory["order"], position = state.generator.permutation(len(images)), 0
        memory["position"] = np.array(min(position + self.batchSize, len(images)))  # in 64 bits
        batch = images.some(memory["order"][position : position + self.batchSize])
        dW1, dW2 = batch.gradient(state.W1, state.W2)
        memory["step1"] = self.momentum * memory["step1"] - stepSize * dW1
        memory["step2"] = self.momentum * memory["step2"] - stepSize * dW2
        state.W1 += memory["step1"]
        state.W2 += memory["step2"]
