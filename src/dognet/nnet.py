"""The network of lecture 3.3: logistic hidden nodes, a logistic output, log loss.

    n  images          X1   (p+1, n)  pixels / 255, one image a column; the last row is 1 (the bias)
    p  pixels          W1   (p+1, h)  weights of the hidden nodes, bias in the last row
    h  hidden nodes    Z1   (h, n)    W1ᵀ X1
                       X2   (h+1, n)  logistic(Z1); the last row is 1
                       W2   (h+1, 1)  weights of the output, bias in the last row
    m  images of       Z2   (n,)      W2ᵀ X2; (1, m) in the loop of descent.py, as yhat
       a block         yhat (n,)      logistic(Z2), the probability of y_classes[1]

The training itself is ``descend`` in descent.py; here ``fit`` draws the weights, ``probabilities`` is the forward pass,
and the rest checks arguments.

The lecture writes one image a row (Z1 = X1 @ W1); here images lie along the last axis, where NumPy is fastest.
Source: B. Gorman, "Neural Networks For Your Dog", lecture 3.3, Gradient Descent.
"""

from __future__ import annotations

import numbers
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dognet.descent import descend, image_blocks, logistic_of_minus, recorded_iterations

Array = np.ndarray[Any, Any]
Report = Callable[[int, float, float], None]


class InputError(ValueError, AssertionError):
    """Input that the network can't work with; an AssertionError too, as in the lecture."""


def logistic(x: Array) -> Array:
    """Return 1 / (1 + e^-x), for x of any shape."""
    z = np.exp(-np.abs(x))  # at most 1: no overflow at either end
    return np.where(np.less(x, 0), z, z.dtype.type(1)) / (1 + z)


def logloss(yhat: Array, y: Array) -> Array:
    """Return -(y·log yhat + (1-y)·log(1-yhat)) per image, in nats: 0 if certain and right, inf if certain and wrong."""
    yhat, y = np.asarray(yhat, float), np.asarray(y, float)
    # log1p(-yhat) is log(1 - yhat), exact near 0
    with np.errstate(divide="ignore", invalid="ignore"):  # 0·log 0 is 0 here, as its limit is
        return np.where(y == 0, 0, -y * np.log(yhat)) + np.where(y == 1, 0, (y - 1) * np.log1p(-yhat))


def probabilities(X1: Array, W1: Array, W2: Array) -> Array:
    """Return yhat (n,) of the images X1 (p+1, n)."""
    yhat = np.empty(X1.shape[1], X1.dtype)  # (n,)
    with np.errstate(over="ignore"):
        for block in image_blocks(X1.shape[1], *W1.shape):
            H = logistic_of_minus(-W1.T @ X1[:, block])  # (h, n), X2 without its ones
            yhat[block] = logistic_of_minus(-W2[:-1, 0] @ H - W2[-1])  # (n,)
    return yhat


def loss_and_accuracy(X1: Array, y: Array, W1: Array, W2: Array) -> tuple[float, float]:
    """Return the mean log loss in nats and the share of images told right; y (n,) is 0 or 1.

    ``logloss`` in the memory of yhat, to some 1e-16: recorded points are to cost little.
    """
    yhat = probabilities(X1, W1, W2)
    right = float(((yhat > 0.5) == y).mean())
    np.subtract(1, yhat, out=yhat, where=y == 0)  # the probability of the class that it is
    with np.errstate(divide="ignore"):
        return 0 - float(np.log(yhat, out=yhat).mean()), right  # 0 and not -0 where all are certain


class NNet:
    """A two-layer network that tells two classes of images apart, trained by gradient descent.

    Parameters
    ----------
    W1 : ndarray of shape (pixels + 1, hiddenNodes), optional
    W2 : ndarray of shape (hiddenNodes + 1, 1), optional
    y_classes : ndarray of shape (2,), optional
        The two classes; ``predict`` gives ``y_classes[1]`` where its probability is above 0.5.

    Weights given here serve ``predict``; ``fit`` draws its own.

    >>> X = np.array([[0, 255], [255, 0], [0, 0], [255, 255]])
    >>> y = np.array(["differ", "differ", "same", "same"])
    >>> net = NNet()
    >>> net.fit(X, y, hiddenNodes=4, stepSize=5, ITERS=2000, seed=1)
    >>> net.predict(X).tolist()
    ['differ', 'differ', 'same', 'same']
    """

    def __init__(self, W1: Any = None, W2: Any = None, y_classes: Any = None) -> None:
        self.W1: Array | None = None
        self.W2: Array | None = None
        self.y_classes: Array | None = None if y_classes is None else check_classes(y_classes)
        if W1 is not None or W2 is not None:
            self.W1, self.W2 = check_weights(W1, W2)

    def fit(
        self,
        X: Any,
        y: Any,
        hiddenNodes: int,
        stepSize: float = 0.01,
        ITERS: int = 100,
        seed: int | None = None,
        *,
        dtype: str = "float64",
        report: Report | None = None,
    ) -> None:
        """Draw new weights and train them for ITERS iterations on all images at once.

        Parameters
        ----------
        X : array of shape (n_images, n_pixels), 0 is black and 255 white
        y : array of shape (n_images,) with exactly two classes
        hiddenNodes : hidden nodes besides the bias, at least 1
        stepSize : how far along the gradient an update goes, above 0 (also called the learning rate)
        ITERS : updates to make, at least 0
        seed : of the initial weights; None for other ones each time
        dtype : ``float64``, or ``float32`` for about half the time and fewer digits
        report : called as report(iteration, loss, accuracy) at each of ``recorded_iterations(ITERS)``, before
            the update of that iteration; the loss is the mean over the images, in nats

        Raises
        ------
        InputError
            If an argument is not as above.
        FloatingPointError
            If the weights stop being finite.
        """
        check_whole("hiddenNodes", hiddenNodes, at_least=1)
        check_step(stepSize)
        check_whole("ITERS", ITERS, at_least=0)
        if seed is not None:
            check_whole("seed", seed, at_least=0)
        if dtype not in ("float64", "float32"):
            raise InputError(f"dtype must be float64 or float32, got {dtype!r}")
        X = check_images(X)
        y_classes = check_labels(y, len(X))
        generator = np.random.default_rng(seed)
        W1 = generator.uniform(-1, 1, (X.shape[1] + 1, hiddenNodes)).astype(dtype)  # (p+1, h)
        W2 = generator.uniform(-1, 1, (hiddenNodes + 1, 1)).astype(dtype)  # (h+1, 1)
        start = NNet(W1, W2, y_classes)
        start.go_on(X, y, stepSize, 0, ITERS, report=report)
        self.W1, self.W2, self.y_classes = start.W1, start.W2, y_classes

    def go_on(self, X: Any, y: Any, stepSize: float, done: int, ITERS: int, *, report: Report | None = None) -> None:
        """Go on from ``done`` iterations to ITERS, to the same bits as ``fit`` in one go. Arguments as for ``fit``."""
        check_step(stepSize)
        check_whole("done", done, at_least=0)
        check_whole("ITERS", ITERS, at_least=done)
        W1, W2 = self.weights()
        X1 = self._with_ones(X)  # (p+1, n)
        y_classes = check_labels(y, X1.shape[1])
        if self.y_classes is None or list(self.y_classes) != list(y_classes):
            raise InputError(f"y must have the classes {self.y_classes}, got {y_classes}")
        y01 = (np.asarray(y) == y_classes[1]).astype(W1.dtype)  # (n,)
        W1, W2 = W1.copy(), W2.copy()
        recorded = {iteration for iteration in recorded_iterations(ITERS) if iteration >= done}
        for iteration in descend(X1, y01, W1, W2, float(stepSize), sorted({done} | recorded)):
            if not (np.isfinite(W1).all() and np.isfinite(W2).all()):
                raise FloatingPointError(
                    f"the weights are no longer finite at iteration {iteration}: stepSize {stepSize!r} is too large"
                )
            if report is not None and iteration in recorded:
                report(iteration, *loss_and_accuracy(X1, y01, W1, W2))
        self.W1, self.W2 = W1, W2

    def predict(self, X: Any, type: str = "classes") -> Array:
        """Return the class of each image of X (n_images, n_pixels), or with type='probs' how likely y_classes[1] is."""
        if type not in ("classes", "probs"):
            raise InputError(f"type must be 'classes' or 'probs', got {type!r}")
        yhat = probabilities(self._with_ones(X), *self.weights())
        if type == "probs":
            return yhat
        if self.y_classes is None:
            raise InputError("y_classes is not known, got weights only: call fit(), or give y_classes to NNet()")
        return self.y_classes[(yhat > 0.5).astype(int)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write W1, W2 and y_classes to one .npz file; what stood at ``path`` stays whole until the new file is."""
        W1, W2 = self.weights()
        if self.y_classes is None:
            raise InputError("y_classes is not known, got weights only: call fit(), or give y_classes to NNet()")
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                np.savez(file, W1=W1, W2=W2, y_classes=self.y_classes, allow_pickle=False)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NNet:
        """Read a network that ``save`` wrote; nothing is ever unpickled."""
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                net = cls(arrays["W1"], arrays["W2"], arrays["y_classes"])
        except FileNotFoundError:
            raise
        except Exception as error:  # the zip and npy readers raise a dozen kinds on damaged bytes
            raise InputError(f"{path} is not a whole network file ({error}): train again") from error
        return net

    def weights(self) -> tuple[Array, Array]:
        """Return W1 and W2, of a network that has them."""
        if self.W1 is None or self.W2 is None:
            raise InputError("the network has no weights yet, got W1=None: call fit() first")
        return self.W1, self.W2

    def _with_ones(self, X: Any) -> Array:
        """Return X1 (p+1, n) of the images X (n, p)."""
        W1, _ = self.weights()
        X = check_images(X)
        n, p = X.shape
        if p != len(W1) - 1:
            raise InputError(f"X must have {len(W1) - 1} columns, one a pixel, got {p}")
        X1 = np.ones((p + 1, n), W1.dtype)
        np.divide(X.T, 255, out=X1[:-1], casting="same_kind")
        return X1


def check_whole(name: str, value: object, at_least: int) -> None:
    """Raise InputError unless value is a whole number of at least ``at_least``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < at_least:
        raise InputError(f"{name} must be a whole number of at least {at_least}, got {value!r}")


def check_step(stepSize: Any) -> None:
    """Raise InputError unless stepSize is a positive finite number, as a float too."""
    is_number = isinstance(stepSize, numbers.Real) and not isinstance(stepSize, bool)
    if not is_number or not 0 < stepSize <= sys.float_info.max:
        raise InputError(f"stepSize must be a positive finite number, got {stepSize!r}")


def check_images(X: Any) -> Array:
    """Return X as an array of shape (n_images, n_pixels) of finite numbers."""
    X = np.asarray(X)
    if X.ndim != 2:
        raise InputError(f"X must have 2 dimensions (images, pixels), got {X.ndim}: shape {X.shape}")
    if X.shape[1] == 0:
        raise InputError(f"X must have at least 1 column, one a pixel, got shape {X.shape}")
    if X.dtype.kind not in "iuf":
        raise InputError(f"X must be numeric, got {X.dtype}")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise InputError(f"X must be finite, got {X[row, column]} in row {row}, column {column}")
    return X


def check_labels(y: Any, n_images: int) -> Array:
    """Return the two classes of y (n_images,), sorted."""
    y = np.asarray(y)
    if y.shape != (n_images,):
        raise InputError(f"y must have one label for each of the {n_images} images, got shape {y.shape}")
    missing = np.not_equal(y, y)  # nan is the one value that differs from itself
    if missing.any():
        raise InputError(f"y must have no missing label, got {y[missing][0]} in row {np.argmax(missing)}")
    try:
        y_classes = np.unique(y)
    except TypeError as error:  # labels of several types don't sort
        raise InputError(f"y must have labels of one type, got {error}") from error
    return check_classes(y_classes)


def check_classes(y_classes: Any) -> Array:
    """Return the two classes as fixed-width text, numbers or truth values, which a file holds without pickle."""
    y_classes = np.array(list(y_classes))
    if y_classes.shape != (2,) or y_classes[0] == y_classes[1]:
        raise InputError(f"y must have exactly 2 classes, got {len(y_classes)}: {y_classes.tolist()[:5]}")
    if y_classes.dtype.kind not in "biufU":
        raise InputError(f"the classes of y must be text or numbers, got {y_classes.dtype}")
    return y_classes


def check_weights(W1: Any, W2: Any) -> tuple[Array, Array]:
    """Return W1 (p+1, h) and W2 (h+1, 1) as arrays of finite floats."""
    weights = []
    for name, W in (("W1", np.asarray(W1)), ("W2", np.asarray(W2))):
        if W.ndim != 2 or W.dtype.kind not in "iuf" or not np.isfinite(W).all():
            raise InputError(f"{name} must be a 2-D array of finite numbers, got {W.dtype} of shape {W.shape}")
        weights.append(W.astype(W.dtype if W.dtype == np.float32 else np.float64))
    W1, W2 = weights
    if W1.shape[0] < 2 or W1.shape[1] < 1 or W2.shape != (W1.shape[1] + 1, 1):
        raise InputError(
            f"W1 must have shape (pixels + 1, hiddenNodes) and W2 (hiddenNodes + 1, 1), got {W1.shape} and {W2.shape}"
        )
    return W1, W2
