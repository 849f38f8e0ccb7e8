"""The images of a training as every method sees them: mean loss and mean gradient, in blocks and on several threads.

A *part* is what one thread computes. A *block* is a piece of a part, so small that its values take some MiB at most.
Both depend only on the arrays' shapes, and parts are added in their order: the number of threads changes no result.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial, reduce
from typing import Any

import numpy as np

from dognet.network.gradient import Array, gradient, new_buffer, score

NUMBERS = 2**18  # in a block, 2 MiB in float64; with smaller blocks threads wait for Python's lock more often
DIRECT = 10**6  # up to so many multiplications, OpenBLAS with AVX-512 multiplies matrices without copying them
FEWEST = 512  # images in a block: at 784 pixels and 128 nodes 7 times as fast as blocks of 5
FEWEST_DIRECT = 300  # images where DIRECT holds: at 60,000 x 784 and 4 nodes 1.7 times as fast as 512
PARTS = 16  # at most, so that their gradients take little memory
VALUES = 100_000  # fewest in a part, counting those of H and an eighth of X1: a smaller part is not worth a thread


class Images:
    """Images X1 (p+1, n) with labels y (n,), 0 or 1, both of the weights' type, for a network of h hidden nodes.

    ``map_parts`` is ``map``, or the same on several threads.
    """

    def __init__(
        self,
        X1: Array,
        y: Array,
        h: int,
        map_parts: Callable[..., Iterable[Any]] = map,
        buffers: Buffers | None = None,
    ) -> None:
        self.X1, self.y, self.h = X1, y, h
        parts = [(X1[:, part], y[part]) for part in image_parts(len(y), len(X1), h)]
        self.parts = [[(X[:, some], y[some]) for some in image_blocks(len(y), len(X), h)] for X, y in parts]
        self.map_parts = map_parts if len(parts) > 1 else map
        self.buffers = buffers or Buffers(block_size(len(X1), h), h, X1.dtype)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.y)

    def some(self, which: Array) -> Images:
        """Return the images with these numbers."""
        X1 = self.X1  # ``take`` would copy all of it first if it were not in C's order
        some = X1.take(which, axis=1) if X1.flags.c_contiguous else X1.T.take(which, axis=0).T
        return Images(some, self.y[which], self.h, self.map_parts, self.buffers)

    def score(self, W1: Array, W2: Array) -> tuple[float, float]:
        """Return the mean log loss in nats and the share of right answers."""
        loss, right = self.sum_over(score, W1, W2)
        return loss / len(self), right / len(self)

    def gradient(self, W1: Array, W2: Array) -> tuple[Array, Array]:
        """Return the gradient of the mean log loss with respect to W1 and W2."""
        dW1, dW2 = self.sum_over(gradient, W1, W2)
        return dW1 / len(self), dW2 / len(self)

    def sum_over(self, function: Callable[..., tuple[Any, ...]], W1: Array, W2: Array) -> tuple[Any, ...]:
        """Return what ``function(X1, y, W1, W2, buffer)`` gives, summed over all images part by part."""

        def sum_part(blocks: list[tuple[Array, Array]]) -> tuple[Any, ...]:
            buffer = self.buffers.mine
            return add_up(function(X1, y, W1, W2, buffer) for X1, y in blocks)

        return add_up(self.map_parts(sum_part, self.parts))


class Buffers(threading.local):
    """A buffer for each thread: new memory for each block can take three times as long as computing it."""

    def __init__(self, n: int, h: int, dtype: Any) -> None:  # called once in each thread
        self.mine = new_buffer(n, h, dtype)


def add_up(terms: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Add tuples of new arrays or numbers in their order, the arrays in place."""
    return reduce(lambda total, term: tuple(map(operator.iadd, total, term)), terms)


def image_parts(n: int, rows: int, h: int) -> list[slice]:
    """Return the slices that cut n images into parts for threads; ``rows`` is the number of rows of X1."""
    return cut(n, min(PARTS, n // FEWEST, n * (h + rows // 8) // VALUES))


def image_blocks(n: int, rows: int, h: int) -> list[slice]:
    """Return the slices that cut n images into blocks; ``rows`` is the number of rows of X1."""
    return cut(n, math.ceil(n / block_size(rows, h)))


def block_size(rows: int, h: int) -> int:
    """Return the largest number of images in a block."""
    size, direct = NUMBERS // (rows + 2 * h + 2), DIRECT // (rows * h)
    return max(min(size, direct), FEWEST_DIRECT) if direct >= FEWEST_DIRECT else max(size, FEWEST)


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
    ignoring = partial(np.seterr, all="ignore")  # threads do not inherit it
    with ThreadPoolExecutor(threads, initializer=ignoring) as pool:
        yield pool.map


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit BLAS to one thread, since more threads change the last bits. The limit holds for the whole process.

    Without threadpoolctl, set OPENBLAS_NUM_THREADS=1 (MKL_NUM_THREADS=1) before NumPy loads instead.
    """
    try:
        return libraries().limit(limits=1, user_api="blas")
    except ImportError:
        return nullcontext()


@cache
def libraries() -> Any:
    """Return threadpoolctl's controller of the loaded libraries, NumPy's BLAS among them; finding them takes 3 ms."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()
