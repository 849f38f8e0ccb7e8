"""The sweeper that ``dognet --multirun`` uses, as Hydra finds it; the work is in dognet.sweep.sweeper.

Hydra imports it whenever it looks for plugins, also in other projects: the rest is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class StudySweeper(Sweeper):
    """Trains a run for each combination of the given values, in one study, with any launcher."""

    def __init__(self, params: Any = None):
        self.params = {} if params is None else params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what Hydra passes, except the task: dognet's sweeper has its own."""
        self.context, self.settings = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Train the unfinished runs of the grid."""
        from dognet.errors import UserError
        from dognet.sweep.sweeper import sweep

        if not isinstance(self.params, Mapping):
            raise UserError(f"hydra.sweeper.params must be a grid, as in {{seed: '1,2'}}, got {self.params!r}")
        named = {word.partition("=")[0] for word in arguments}
        grid = [f"{name}={values}" for name, values in self.params.items() if name not in named]
        sweep(self.context, self.settings, [*grid, *arguments])
