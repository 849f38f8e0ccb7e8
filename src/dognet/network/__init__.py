"""The lecture's network. It needs NumPy alone.

Read ``gradient.py`` first, the formulas; then ``methods/gradient_descent.py``, an iteration; ``training.py``, the loop;
and ``nnet.py``, the class that users call. ``blocks.py`` only makes the gradient fast.
"""

from dognet.network.checks import InputError, PixelWarning
from dognet.network.gradient import logistic, logloss
from dognet.network.nnet import NNet, scorer
from dognet.network.training import Callback, Method, State, cost

__all__ = ["Callback", "InputError", "Method", "NNet", "PixelWarning", "State", "cost", "logistic", "logloss", "scorer"]
