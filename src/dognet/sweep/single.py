"""One run on the command line: train it with a progress bar, record it in MLflow, and print its metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from dognet.network import Callback
from dognet.runs.folder import now
from dognet.runs.run import Run
from dognet.settings import Settings, SettingsError
from dognet.stages.once import run_once
from dognet.sweep.words import kept
from dognet.tracking.sync import following


def train(settings: Settings, root: Path, words: Sequence[str]) -> None:
    """Train, draw and record one run, and print its metrics; a failed run is recorded before its error is raised.

    ``words`` are the command-line arguments that the settings come from.
    """
    if settings.plan:
        raise SettingsError("plan=true says what a sweep would train: dognet --multirun … plan=true")
    began = now()
    with following(settings.study, settings.tracking_uri, root):
        with bar(settings.ITERS) as show:
            run = run_once(settings, root, callback=show, overrides=kept(words))
        trained_before = run.manifest.start is not None and run.manifest.start < began
        if not trained_before:
            from dognet.stages.plot import plot  # imports matplotlib

            plot(run, root)
        print(figures_table(run))
        print(os.path.relpath(run.folder) + (", already trained" if trained_before else ""), flush=True)


@contextmanager
def bar(ITERS: int) -> Iterator[Callback]:
    """Show a bar with loss, accuracy and time left on standard error; nothing unless that is a terminal."""
    layout = "{percentage:3.0f}% |{bar}| {n_fmt} of {total_fmt} iterations, {remaining} left{postfix}"
    with tqdm(
        total=ITERS, bar_format=layout, dynamic_ncols=True, leave=False, unit_scale=True, disable=None
    ) as progress:

        def show(iteration: int, loss: float, accuracy: float) -> None:
            progress.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.3f}", refresh=False)
            progress.update(iteration - progress.n)

        yield show


def figures_table(run: Run) -> str:
    """Return a finished run's figures as a small aligned table."""
    figures, rows = run.figures.by_name(), [f"{'':<10}  loss (nats)  accuracy"]
    for name in ("train", "validation", "test", "balanced", "baseline"):
        loss = f"{figures[f'{name}_loss']:.4g}" if f"{name}_loss" in figures else ""
        accuracy = figures.get(f"{name}_accuracy", figures.get(name))
        if accuracy is not None:
            rows.append(f"{name:<10}  {loss:<11}  {accuracy:.4f}")
    return "\n".join([*rows, f"trained in {run.manifest.seconds:.2f} s"])
