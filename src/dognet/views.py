"""The saved views of a study on MLflow's page."""

from __future__ import annotations

from dognet.tracking import Store


def save(store: Store, studies: list[str]) -> None:
    """Save the views."""
