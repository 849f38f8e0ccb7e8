"""The lecture's network. It needs NumPy alone."""

from dognet.network.gradient import logistic, logloss
from dognet.network.nnet import InputError, NNet

__all__ = ["InputError", "NNet", "logistic", "logloss"]
