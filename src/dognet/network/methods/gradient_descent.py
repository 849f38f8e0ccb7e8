"""Gradient descent (lecture 3.3): every update goes down the gradient of the loss on all images."""

from __future__ import annotations

from dataclasses import dataclass

from dognet.network.blocks import Images
from dognet.network.training import Method, State


@dataclass(frozen=True)
class GradientDescent(Method):
    """An iteration takes one step against the gradient, on all images at once."""

    iteration = "an update on all images"

    def update(self, state: State, images: Images, stepSize: float) -> None:
        """Take the step."""
        dW1, dW2 = images.gradient(state.W1, state.W2)
        state.W1 -= stepSize * dW1
        state.W2 -= stepSize * dW2
