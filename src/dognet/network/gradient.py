"""The mathematics: probabilities, loss and gradient of a few images. The letters are those of nnet.py.

dA is the derivative of the summed log loss with respect to A. H is X2 without its row of ones, which depends on no
weight, and V (h, 1) is W2 without its bias. The chain rule gives

    dZ2 = yhat - y                      dW2 = X2 dZ2ᵀ
    dZ1 = V dZ2 · H · (1 - H)           dW1 = X1 dZ1ᵀ
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def logistic(x: Any) -> Array:
    """Return 1 / (1 + e^-x), for x of any shape."""
    with np.errstate(over="ignore"):  # 1 / (1 + inf) is 0, as it should be
        return 1 / (1 + np.exp(np.negative(x)))


def logloss(yhat: Any, y: Any) -> Array:
    """Return -(y·log yhat + (1-y)·log(1-yhat)) per image, in nats: 0 if certain and right, inf if certain and wrong."""
    yhat, y = np.asarray(yhat, float), np.asarray(y, float)
    # log1p(-yhat) is log(1 - yhat), exact near 0
    with np.errstate(divide="ignore", invalid="ignore"):  # 0·log 0 is 0 here, as its limit is
        return np.where(y == 0, 0, -y * np.log(yhat)) + np.where(y == 1, 0, (y - 1) * np.log1p(-yhat))


def new_buffer(n: int, h: int, dtype: Any) -> Array:
    """Return memory for everything that is computed for n images and h hidden nodes."""
    return np.empty(n * (2 * h + 2), dtype)


def forward(X1: Array, W1: Array, W2: Array, buffer: Array | None = None) -> tuple[Array, Array, Array]:
    """Return X2 (h+1, n) and yhat (1, n) of the images X1, and scratch memory (h, n) for ``gradient``.

    All three are views of ``buffer``: the next call overwrites them. Without a buffer they are new arrays.
    """
    h, n = W1.shape[1], X1.shape[1]
    if buffer is None:
        buffer = new_buffer(n, h, W1.dtype)
    rows = buffer[: n * (2 * h + 2)].reshape(2 * h + 2, n)
    X2, yhat, scratch = rows[: h + 1], rows[h + 1 : h + 2], rows[h + 2 :]
    X2[-1] = 1
    minus_Z1 = np.matmul(-W1.T, X1, out=X2[:-1])  # (h, n), in the place of H
    logistic_of_minus(minus_Z1)
    minus_Z2 = np.matmul(-W2.T, X2, out=yhat)  # (1, n), in the place of yhat
    logistic_of_minus(minus_Z2)
    return X2, yhat, scratch


def logistic_of_minus(Z: Array) -> None:
    """Turn -Z into logistic(Z) in place."""
    np.exp(Z, out=Z)
    Z += 1
    np.divide(1, Z, out=Z)


def gradient(X1: Array, y: Array, W1: Array, W2: Array, buffer: Array | None = None) -> tuple[Array, Array]:
    """Return dW1 and dW2, summed over the images X1 with y (n,), which is 0 or 1.

    V is the same for every image, so only the sum is multiplied by it. ``np.dot`` lets other threads compute meanwhile;
    ``@`` does not if the result has fewer than 500 numbers.
    """
    X2, yhat, scratch = forward(X1, W1, W2, buffer)  # (h+1, n), (1, n), (h, n)
    H, V = X2[:-1], W2[:-1]  # (h, n), (h, 1)
    dZ2 = np.subtract(yhat, y, out=yhat)  # (1, n), in the place of yhat
    dW2 = np.dot(X2, dZ2.T)  # (h+1, 1)
    dZ1_by_V = np.subtract(1, H, out=scratch)  # (h, n)
    dZ1_by_V *= H
    dZ1_by_V *= dZ2
    dW1 = np.dot(X1, dZ1_by_V.T)  # (p+1, h), without the factor V
    dW1 *= V.T
    return dW1, dW2


def score(X1: Array, y: Array, W1: Array, W2: Array, buffer: Array | None = None) -> tuple[float, int]:
    """Return the log loss in nats, summed over the images, and the number of images classified correctly."""
    yhat = forward(X1, W1, W2, buffer)[1][0]  # (n,)
    loss = 0 - np.log(np.where(y == 1, yhat, 1 - yhat)).sum()  # 0 and not -0 where all are certain
    return float(loss), int(((yhat > 0.5) == y).sum())
