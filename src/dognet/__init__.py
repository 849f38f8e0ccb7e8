"""dognet: the network of one lecture, run as a real experiment pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dognet.network import NNet, logistic, logloss

__all__ = ["NNet", "logistic", "logloss"]


def __getattr__(name: str) -> Any:
    """Import the network on first use: the command sets the number of BLAS threads before NumPy loads."""
    if name not in __all__:
        raise AttributeError(f"module 'dognet' has no attribute {name!r}")
    from dognet import network

    return getattr(network, name)
