"""Random weights (lecture 3.2): guess them again and again, and keep the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dognet.network.blocks import Images
from dognet.network.training import Method, State, draw_weights


@dataclass(frozen=True)
class RandomWeights(Method):
    """An iteration draws new weights, and keeps them if their loss on the training images is lower."""

    iteration = "a draw of all weights"
    unused = ("stepSize",)

    def start(self, state: State, images: Images) -> None:
        """Find the loss that the first draw has to beat."""
        state.memory["loss"] = np.array(images.score(state.W1, state.W2)[0])

    def update(self, state: State, images: Images, stepSize: float) -> None:
        """Draw, and keep what is better."""
        assert state.generator is not None
        p, h = len(state.W1) - 1, state.W1.shape[1]
        W1, W2 = draw_weights(state.generator, p, h, state.W1.dtype)
        loss, _ = images.score(W1, W2)
        if loss < state.memory["loss"]:
            state.W1, state.W2, state.memory["loss"] = W1, W2, np.array(loss)
