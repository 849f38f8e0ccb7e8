"""How a run shows itself on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dognet.network.descent import Report
from dognet.runs import Run


@contextmanager
def bar(ITERS: int) -> Iterator[Report | None]:
    """Show a bar with loss, accuracy and time left on standard error; nothing unless that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    layout = "{percentage:3.0f}% |{bar}| {n_fmt} of {total_fmt} iterations, {remaining} left{postfix}"
    with tqdm(total=ITERS, bar_format=layout, dynamic_ncols=True, leave=False, unit_scale=True) as shown:

        def report(iteration: int, loss: float, accuracy: float) -> None:
            shown.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.3f}", refresh=False)
            shown.update(iteration - shown.n)

        yield report


def figures(run: Run) -> str:
    """Return a finished run's figures as a small aligned table."""
    m = run.metrics
    return (
        f"          loss (nats)  accuracy\n"
        f"train     {m['train_loss']:<11.4g}  {m['train_accuracy']:.4f}\n"
        f"test      {m['test_loss']:<11.4g}  {m['test_accuracy']:.4f}\n"
        f"trained in {run.info['seconds']:.2f} s"
    )
