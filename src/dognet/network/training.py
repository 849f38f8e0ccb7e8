"""A training: its state, the loop over its iterations, and what a method of finding the weights must provide."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dognet.network.blocks import Images
from dognet.network.gradient import Array

Callback = Callable[[int, float, float], None]  # of iteration, mean loss in nats, accuracy


@dataclass
class State:
    """Everything that an iteration reads besides the images and the settings. It is saved, resumed and copied whole."""

    W1: Array  # (p+1, h)
    W2: Array  # (h+1, 1)
    generator: np.random.Generator | None = None  # made from the seed; it has drawn W1 and W2
    memory: dict[str, Array] = field(default_factory=dict)  # what the method carries on to the next iteration

    def arrays(self) -> dict[str, Array]:
        """Return the whole state as arrays by name, as they are saved."""
        arrays = {"W1": self.W1, "W2": self.W2, **self.memory}
        if self.generator is not None:  # of one width, so that states can be compared
            arrays["generator"] = np.array(f"{json.dumps(self.generator.bit_generator.state):<256}".encode())
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> State:
        """Rebuild a state from what ``arrays()`` returned."""
        memory = {name: arrays[name].copy() for name in arrays if name not in ("W1", "W2", "generator")}
        state = cls(arrays["W1"], arrays["W2"], memory=memory)
        if "generator" in arrays:
            state.generator = np.random.default_rng()
            state.generator.bit_generator.state = json.loads(arrays["generator"].item())
        return state

    def copy(self) -> State:
        """Return a copy that further iterations do not change."""
        return copy.deepcopy(self)


def draw_weights(generator: np.random.Generator, p: int, h: int, dtype: Any) -> tuple[Array, Array]:
    """Draw W1 (p+1, h) and W2 (h+1, 1) as the lecture does, from -1 to 1."""
    return generator.uniform(-1, 1, (p + 1, h)).astype(dtype), generator.uniform(-1, 1, (h + 1, 1)).astype(dtype)


@dataclass(frozen=True)
class Method(ABC):
    """A way to find the weights. Its fields are its settings; ``unused`` names settings of ``fit`` that it ignores."""

    unused: ClassVar[tuple[str, ...]] = ()
    dense: ClassVar[int] = 100  # every iteration up to this is recorded; fewer where iterations are cheap

    @property
    @abstractmethod
    def iteration(self) -> str:
        """What one iteration is, in words."""

    def start(self, state: State, images: Images) -> None:  # noqa: B027 most methods remember nothing
        """Fill ``state.memory`` for the first iteration."""

    @abstractmethod
    def update(self, state: State, images: Images, stepSize: float) -> None:
        """Do one iteration on the state, in place."""


def train(
    method: Method, images: Images, state: State, stepSize: float, iterations: range, callback: Callback | None
) -> None:
    """Do the ``iterations`` on the state, in place; call ``callback`` at the recorded ones and at the end.

    Raises FloatingPointError if the weights stop being finite.
    """
    recorded = set(recorded_iterations(iterations.stop, method.dense))
    with np.errstate(all="ignore"):  # the weights are checked instead
        for iteration in range(iterations.start, iterations.stop + 1):  # at the last one nothing is updated
            if iteration in recorded:
                if not (np.isfinite(state.W1).all() and np.isfinite(state.W2).all()):
                    raise FloatingPointError(
                        f"the weights are no longer finite at iteration {iteration}: stepSize {stepSize!r} is too large"
                    )
                if callback is not None:
                    callback(iteration, *images.score(state.W1, state.W2))
            if iteration < iterations.stop:
                method.update(state, images, stepSize)


def recorded_iterations(ITERS: int, dense: int = 100) -> Iterator[int]:
    """Yield every iteration up to ``dense``, every 10th up to 10·dense, every 100th up to 100·dense, …, and ITERS."""
    iteration, stride = 0, 1
    while iteration < ITERS:
        yield iteration
        if iteration == dense * stride:
            stride *= 10
        iteration += stride
    yield ITERS


def cost(hiddenNodes: int, ITERS: int, done: int = 0, **_: Any) -> float:
    """Return the relative cost of a run: that of a hidden node in an iteration is 1, that of the rest is 2."""
    return (hiddenNodes + 2) * (ITERS - done)
