"""Gradient descent on all images at once: the one hot loop. The letters are those of nnet.py.

With dA for n times the slope of the mean log loss along A, and H for X2 without its row of ones (nothing leads back
to a constant), the chain rule gives

    dZ2 = yhat - y                      dW2 = X2 dZ2ᵀ
    dZ1 = W2 · dZ2 · H · (1 - H)        dW1 = X1 dZ1ᵀ

and one iteration is W1 -= stepSize / n · dW1 and W2 -= stepSize / n · dW2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

CACHE = 2**14  # numbers in a block's H, h nodes by m images: 128 KiB, which stay in cache from one step to the next
SINGLE = 2**18  # OpenBLAS spreads products of more multiplications over threads, which may change their last bits


def recorded_iterations(ITERS: int) -> Iterator[int]:
    """Yield 0 to ITERS: every one to 100, every tenth to 1000, every hundredth to 10 000, and so on, and ITERS."""
    iteration, stride = 0, 1
    while iteration < ITERS:
        yield iteration
        if iteration == 100 * stride:
            stride *= 10
        iteration += stride
    yield ITERS


def image_blocks(n: int, inputs: int, h: int) -> list[slice]:
    """Cut n images into blocks that fit the cache; a short last one."""
    m = max(1, min(CACHE, SINGLE // inputs) // h)
    return [slice(start, min(start + m, n)) for start in range(0, n, m)]


def logistic_of_minus(Z: Array) -> Array:
    """Turn -Z into logistic(Z) where it lies, and return it."""
    np.exp(Z, out=Z)  # may overflow to inf, rightly: 1 / (1 + inf) is 0
    Z += 1
    return np.divide(1, Z, out=Z)


def descend(X1: Array, y: Array, W1: Array, W2: Array, stepSize: float, stops: Sequence[int]) -> Iterator[int]:
    """Update W1 and W2 in place, from iteration stops[0] on, and yield each of ``stops`` when it is reached.

    X1 (p+1, n) and y (n,), 0 or 1, have the type of W1 (p+1, h) and W2 (h+1, 1). Nothing but W1 and W2 carries over
    from one iteration to the next, so whoever goes on from a stop comes to the same bits.
    """
    (inputs, h), n = W1.shape, len(y)
    blocks = [(X1[:, block], y[block]) for block in image_blocks(n, inputs, h)]
    widths = {len(ym) for _, ym in blocks}  # two at most; a block writes over what the last of its width left
    buffers = {m: [np.ones((rows, m), W1.dtype) for rows in (h + 1, h, 1)] for m in widths}
    rate = stepSize / n
    iteration = stops[0]
    for stop in stops:
        while iteration < stop:
            minusW1, minusW2 = -W1.T, -W2.T  # (h, p+1), (1, h+1): less to negate than Z1 and Z2
            dW1, dW2 = np.zeros_like(W1), np.zeros_like(W2)
            with np.errstate(all="ignore"):  # steps too large overflow; the caller looks at the weights
                for X1m, ym in blocks:  # (p+1, m), (m,)
                    X2, dZ1, dZ2 = buffers[len(ym)]  # (h+1, m), (h, m) without the factor W2, (1, m)
                    H = X2[:-1]  # (h, m)
                    logistic_of_minus(np.matmul(minusW1, X1m, out=H))
                    logistic_of_minus(np.matmul(minusW2, X2, out=dZ2))  # dZ2 holds yhat for the moment
                    dZ2 -= ym  # yhat - y
                    dW2 += X2 @ dZ2.T  # (h+1, 1)
                    np.subtract(1, H, out=dZ1)
                    dZ1 *= H
                    dZ1 *= dZ2  # dZ1 still lacks its factor W2, the same for every image
                    dW1 += X1m @ dZ1.T  # (p+1, h)
                W1 -= rate * W2[:-1].T * dW1  # W2: the factor left out of dZ1
                W2 -= rate * dW2
            iteration += 1
        yield iteration
