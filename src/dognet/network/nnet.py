"""The network of lecture 3.3: logistic hidden nodes, a logistic output, log loss.

    n  images          X1   (p+1, n)  pixels / 255, one image a column; the last row is 1 (the bias)
    p  pixels          W1   (p+1, h)  weights of the hidden nodes, bias in the last row
    h  hidden nodes    Z1   (h, n)    W1ᵀ X1
                       X2   (h+1, n)  logistic(Z1); the last row is 1
                       W2   (h+1, 1)  weights of the output, bias in the last row
                       Z2   (1, n)    W2ᵀ X2
                       yhat (1, n)    logistic(Z2), the probability of y_classes[1]

The lecture writes one image a row (Z1 = X1 @ W1); here images lie along the last axis, where NumPy is fastest.
Source: B. Gorman, "Neural Networks For Your Dog", lecture 3.3, Gradient Descent.
"""

from __future__ import annotations

import numbers
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dognet.network.descent import Report, State, descend, image_blocks, one_blas_thread, sum_over
from dognet.network.gradient import Array, forward, score


class InputError(ValueError, AssertionError):
    """Input that the network can't work with; an AssertionError too, as in the lecture."""


class PixelWarning(UserWarning):
    """Pixels that are probably not meant as 0 (black) to 255 (white)."""


class NNet:
    """A two-layer network that tells two classes of images apart, trained by gradient descent.

    Parameters
    ----------
    W1 : ndarray of shape (pixels + 1, hiddenNodes), optional
    W2 : ndarray of shape (hiddenNodes + 1, 1), optional
    y_classes : ndarray of shape (2,), optional
        The two classes; ``predict`` returns ``y_classes[1]`` where its probability is above 0.5.

    Weights given here serve ``predict``; ``fit`` draws its own.

    >>> X = np.array([[0, 255], [255, 0], [0, 0], [255, 255]])
    >>> y = np.array(["differ", "differ", "same", "same"])
    >>> net = NNet()
    >>> net.fit(X, y, hiddenNodes=4, stepSize=5, ITERS=2000, seed=1)
    >>> net.predict(X).tolist()
    ['differ', 'differ', 'same', 'same']
    """

    def __init__(self, W1: Any = None, W2: Any = None, y_classes: Any = None) -> None:
        self.state: State | None = None
        self.y_classes: Array | None = None if y_classes is None else check_classes(y_classes)
        if W1 is not None or W2 is not None:
            self.state = State.at(*check_weights(W1, W2))

    @property
    def W1(self) -> Array | None:  # noqa: N802 the lecture's names
        """The weights of the hidden nodes, or None before ``fit``."""
        return None if self.state is None else self.state.W1

    @property
    def W2(self) -> Array | None:  # noqa: N802
        """The weights of the output, or None before ``fit``."""
        return None if self.state is None else self.state.W2

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
        resume: tuple[int, State] | None = None,
        threads: int = 1,
    ) -> None:
        """Draw new weights and train them for ITERS iterations on all images at once.

        If it raises an error, the network keeps the weights that it had before. It warns (``PixelWarning``) of pixels
        below 0, above 255, or all in 0..1.

        Parameters
        ----------
        X : array of shape (n_images, n_pixels), 0 is black and 255 white
        y : array of shape (n_images,) with exactly two classes
        hiddenNodes : hidden nodes besides the bias, at least 1
        stepSize : how far along the gradient an update goes, above 0 (also called the learning rate)
        ITERS : updates to make, at least 0
        seed : of the initial weights; None draws others each time
        dtype : ``float64``, or ``float32`` for about half the time and fewer digits
        report : called as report(iteration, loss, accuracy) at each of ``recorded_iterations(ITERS)``, before
            the update of that iteration, with ``self.state`` as it is then; the loss is the mean in nats
        resume : (iteration, state) of a shorter run with the same arguments, to train on from there: the result has
            the same bits as one run straight through
        threads : processor cores to use; their number does not change the result

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
        check_whole("threads", threads, at_least=1)
        X = check_images(X)
        y_classes = check_labels(y, len(X))
        check_scale(X)
        start, state = 0, initial_state(X.shape[1], hiddenNodes, seed, dtype)
        if resume is not None:
            start, state = check_resume(*resume, ITERS, like=state)
        y01 = (np.asarray(y) == y_classes[1]).astype(dtype)  # (n,)
        before = self.state, self.y_classes
        self.state, self.y_classes = state, y_classes
        try:
            with one_blas_thread():
                descend(with_ones(X, dtype), y01, state, float(stepSize), range(start, ITERS), report, threads)
        except BaseException:
            self.state, self.y_classes = before
            raise

    def predict(self, X: Any, type: str = "classes") -> Array:
        """Return the class of each image of X (n_images, n_pixels), or with type='probs' how likely y_classes[1] is."""
        if type not in ("classes", "probs"):
            raise InputError(f"type must be 'classes' or 'probs', got {type!r}")
        W1, W2 = self.weights()
        X = check_images(X)
        if X.shape[1] != len(W1) - 1:
            raise InputError(f"X must have {len(W1) - 1} columns, one a pixel, got {X.shape[1]}")
        X1 = with_ones(X, W1.dtype)
        with one_blas_thread(), np.errstate(over="ignore"):
            blocks = [forward(X1[:, block], W1, W2)[1][0] for block in image_blocks(len(X), W1.shape[1])]
        yhat = np.concatenate(blocks)  # (n,)
        if type == "probs":
            return yhat
        return self._known_classes()[(yhat > 0.5).astype(int)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state and y_classes to one .npz file; a file at ``path`` stays whole until the new one is."""
        arrays = self._known_state().arrays() | {"y_classes": self._known_classes()}
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                np.savez(file, **arrays, allow_pickle=False)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NNet:
        """Read a network that ``save`` wrote; nothing is ever unpickled."""
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                net = cls(arrays["W1"], arrays["W2"], arrays["y_classes"])
                net.state = State.from_arrays(arrays)
        except FileNotFoundError:
            raise
        except Exception as error:  # the zip and npy readers raise a dozen kinds on damaged bytes
            raise InputError(f"{path} is not a whole network file ({error}): train again") from error
        return net

    def weights(self) -> tuple[Array, Array]:
        """Return W1 and W2, of a network that has them."""
        state = self._known_state()
        return state.W1, state.W2

    def _known_state(self) -> State:
        if self.state is None:
            raise InputError("the network has no weights yet, got W1=None: call fit() first")
        return self.state

    def _known_classes(self) -> Array:
        if self.y_classes is None:
            raise InputError("y_classes is not known, got weights only: call fit(), or give y_classes to NNet()")
        return self.y_classes


def initial_state(p: int, h: int, seed: int | None, dtype: str) -> State:
    """Draw the weights as the lecture does, from -1 to 1."""
    generator = np.random.default_rng(seed)
    W1 = generator.uniform(-1, 1, (p + 1, h)).astype(dtype)  # (p+1, h)
    W2 = generator.uniform(-1, 1, (h + 1, 1)).astype(dtype)  # (h+1, 1)
    return State.at(W1, W2)


def with_ones(X: Array, dtype: Any) -> Array:
    """Return X1 (p+1, n) of the images X (n, p)."""
    X1 = np.ones((X.shape[1] + 1, len(X)), dtype)
    np.divide(X.T, 255, out=X1[:-1], casting="same_kind")
    return X1


def scorer(X: Array, y: Array, dtype: str) -> Callable[[State], tuple[float, float]]:
    """Return the function that gives mean loss (nats) and accuracy of a state on X (n, p) and y (n,), True or False."""
    part = with_ones(X, dtype), y.astype(dtype)

    def score_of(state: State) -> tuple[float, float]:
        loss, right = sum_over(score, state, part)
        return loss / len(y), right / len(y)

    return score_of


def check_whole(name: str, value: object, at_least: int) -> None:
    """Raise InputError unless value is a whole number of at least ``at_least``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < at_least:
        raise InputError(f"{name} must be a whole number of at least {at_least}, got {value!r}")


def check_step(stepSize: Any) -> None:
    """Raise InputError unless stepSize is a positive finite number, as a float too."""
    is_number = isinstance(stepSize, numbers.Real) and not isinstance(stepSize, bool)
    if not is_number or not 0 < stepSize <= sys.float_info.max:
        raise InputError(f"stepSize must be a positive finite number, got {stepSize!r}")


def check_resume(start: Any, state: State, ITERS: int, like: State) -> tuple[int, State]:
    """Return the iteration and a copy of the state to resume from, which has arrays like those of a new one."""
    check_whole("the iteration of resume", start, at_least=0)
    if start > ITERS:
        raise InputError(f"the iteration of resume must be at most ITERS={ITERS}, got {start}")
    for name, array in like.arrays().items():
        other = state.arrays()[name]
        if (other.shape, other.dtype) != (array.shape, array.dtype):
            raise InputError(
                f"{name} of resume must be {array.dtype} of shape {array.shape}, got {other.dtype} of {other.shape}"
            )
    return start, state.copy()


def check_images(X: Any) -> Array:
    """Return X as an array of shape (n_images, n_pixels) of finite numbers."""
    X = np.asarray(X)
    if X.ndim != 2:
        raise InputError(f"X must have 2 dimensions (images, pixels), got {X.ndim}: shape {X.shape}")
    if X.shape[1] == 0:
        raise InputError(f"X must have at least 1 column, one a pixel, got shape {X.shape}")
    if X.dtype.kind == "O":  # as pandas gives columns that may have missing cells
        X = numbers_of(X)
    if X.dtype.kind not in "iuf":
        raise InputError(f"X must be numeric, got {X.dtype}")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise InputError(f"X must be finite, got {X[row, column]} in row {row}, column {column}")
    return X


def numbers_of(X: Array) -> Array:
    """Return an array of objects as one of floats."""
    for (row, column), cell in np.ndenumerate(X):
        if not isinstance(cell, numbers.Real) or isinstance(cell, bool):
            raise InputError(f"X must be numeric, got {cell!r} in row {row}, column {column}")
    return X.astype(float)


def check_scale(X: Array) -> None:
    """Warn of pixels that are outside of 0..255, or all in 0..1."""
    low, high = X.min(), X.max()
    if low < 0 or high > 255 or 0 < high <= 1:
        message = (
            f"X should have pixels from 0 (black) to 255 (white), got {low:g} to {high:g}: fit divides them by 255"
        )
        warnings.warn(message, PixelWarning, stacklevel=3)


def check_labels(y: Any, n_images: int) -> Array:
    """Return the two classes of y (n_images,), sorted."""
    y = np.asarray(y)
    if y.shape != (n_images,):
        raise InputError(f"y must have one label for each of the {n_images} images, got shape {y.shape}")
    missing = np.array([is_missing(label) for label in y]) if y.dtype.kind == "O" else np.not_equal(y, y)
    if missing.any():
        raise InputError(f"y must have no missing label, got {y[missing][0]} in row {np.argmax(missing)}")
    try:
        y_classes = np.unique(y)
    except TypeError as error:  # labels of several types don't sort
        raise InputError(f"y must have labels of one type, got {error}") from error
    return check_classes(y_classes)


def is_missing(label: Any) -> bool:
    """Return whether a label is None, or differs from itself as nan does."""
    try:
        return label is None or bool(label != label)  # noqa: PLR0124 nan alone does
    except TypeError:  # pandas.NA neither equals itself nor differs
        return True


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
