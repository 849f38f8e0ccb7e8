"""Gradient descent on all images at once: the state, the loop, and what makes it fast."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import partial, reduce
from typing import Any

import numpy as np

from dognet.network.gradient import Array, gradient, score

Report = Callable[[int, float, float], None]

# What speed asks for. Images go through in blocks, whose H stays in the processor's cache from one line of the gradient
# to the next; and the blocks of a large layer are shared out to threads in parts. Both depend on the shape alone, and
# parts are added in their order: the number of threads does not change the result. Measured on one AVX2 core.
CACHE = 2**14  # values of H in a block, 128 KiB: 2.2 times as fast as plain NumPy at 400 000 images, 4 pixels, 4 nodes
IMAGES = 512  # at least, in a block: 7 times as fast at 784 pixels and 128 nodes as blocks of 5
PARTS = 16  # at most, so that partial gradients take little memory
VALUES = 25_000  # of the larger layer in a part, or its thread costs more than it saves


@dataclass
class State:
    """Everything that an update reads besides the images. A new field is saved, resumed and copied like the others."""

    W1: Array  # (p+1, h)
    W2: Array  # (h+1, 1)

    @classmethod
    def at(cls, W1: Array, W2: Array) -> State:
        """Return the state of a training that starts from these weights."""
        return cls(W1, W2)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> State:
        """Return the state that ``arrays()`` was called on; arrays of other names are ignored."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by name, as they are saved."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def copy(self) -> State:
        """Return a copy that further updates do not change."""
        return State(**{name: array.copy() for name, array in self.arrays().items()})


def descend(
    X1: Array, y: Array, state: State, stepSize: float, iterations: range, report: Report | None, threads: int
) -> None:
    """Update the state in place, once in each of ``iterations``, and report the recorded ones and the end.

    X1 (p+1, n) and y (n,), 0 or 1, have the type of the weights. Raises FloatingPointError if the state stops being
    finite.
    """
    n, h = len(y), len(state.W2) - 1
    rate = stepSize / n
    parts = [(X1[:, part], y[part]) for part in cut(n, min(PARTS, n // IMAGES, n * max(len(X1), h) // VALUES))]
    recorded = set(recorded_iterations(iterations.stop))
    with map_on(min(threads, len(parts))) as map_parts, np.errstate(all="ignore"):  # the state is checked instead
        for iteration in range(iterations.start, iterations.stop + 1):
            if iteration in recorded:
                if not all(np.isfinite(array).all() for array in state.arrays().values()):
                    raise FloatingPointError(
                        f"the weights are no longer finite at iteration {iteration}: stepSize {stepSize!r} is too large"
                    )
                if report is not None:
                    loss, right = add_up(map_parts(partial(sum_over, score, state), parts))
                    report(iteration, loss / n, right / n)
            if iteration < iterations.stop:
                dW1, dW2 = add_up(map_parts(partial(sum_over, gradient, state), parts))
                state.W1 -= rate * state.W2[:-1].T * dW1  # W2: the factor left out of dZ1
                state.W2 -= rate * dW2


def recorded_iterations(ITERS: int) -> Iterator[int]:
    """Yield 0 to ITERS: every one to 100, every tenth to 1000, every hundredth to 10 000, and so on, and ITERS."""
    iteration, stride = 0, 1
    while iteration < ITERS:
        yield iteration
        if iteration == 100 * stride:
            stride *= 10
        iteration += stride
    yield ITERS


def work(hiddenNodes: int, ITERS: int, done: int = 0, **_: Any) -> float:
    """Return the relative cost of a run: its files weigh like 300 iterations, the rest of an iteration like 2 nodes."""
    return (hiddenNodes + 2) * (ITERS - done + 300)


def sum_over(function: Callable[..., tuple[Any, ...]], state: State, part: tuple[Array, Array]) -> tuple[Any, ...]:
    """Return what ``function(X1, y, W1, W2)`` gives for the images of a part, summed block by block."""
    X1, y = part
    blocks = image_blocks(len(y), len(state.W2) - 1)
    with np.errstate(all="ignore"):  # a thread does not inherit it
        return add_up(function(X1[:, block], y[block], state.W1, state.W2) for block in blocks)


def add_up(terms: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Add tuples of new arrays or numbers in their order, the arrays in place."""
    return reduce(lambda total, term: tuple(map(operator.iadd, total, term)), terms)


def image_blocks(n: int, h: int) -> list[slice]:
    """Cut n images into blocks whose hidden values stay in the cache."""
    return cut(n, n // max(IMAGES, CACHE // h))


def cut(n: int, pieces: int) -> list[slice]:
    """Cut n images into pieces of equal size, at least one."""
    pieces = max(1, pieces)
    return [slice(n * i // pieces, n * (i + 1) // pieces) for i in range(pieces)]


@contextmanager
def map_on(threads: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Provide ``map``, or with several threads the same on a pool; both give the results in order."""
    if threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map


def one_blas_thread() -> AbstractContextManager[Any]:
    """Hold BLAS to one thread, since more of them change the last bits. The limit holds for the whole process.

    Without threadpoolctl, set OPENBLAS_NUM_THREADS=1 (MKL_NUM_THREADS=1) before NumPy loads instead.
    """
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        return nullcontext()
    return threadpool_limits(1, "blas")
