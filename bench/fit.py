"""What recording costs and what float32 buys, in the lecture's training: python bench/fit.py [--quick]."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import machine
from training import SETTINGS, images

HEAD = ("", "seconds, bare", "recording", "costs", "times as fast as float64", "train loss", "train accuracy")


def fit(dtype: str, ITERS: int) -> dict[str, float]:
    """Fit without and with recording; return seconds and the last recorded point."""
    from dognet.network import NNet

    X, y = images()
    curve: list[Any] = []
    spent = {}
    for name, report in (("warm up", None), ("bare", None), ("recording", lambda *point: curve.append(point))):
        start = time.process_time()
        NNet().fit(
            X, y, SETTINGS["hiddenNodes"], SETTINGS["stepSize"], 1 if name == "warm up" else ITERS, SETTINGS["seed"],
            dtype=dtype, callback=report,
        )  # fmt: skip
        spent[name] = time.process_time() - start
    return spent | {"loss": curve[-1][1], "accuracy": curve[-1][2]}


def main() -> None:
    """Compare float64 and float32, with and without recording, in every mode."""
    quick = machine.quick(__doc__)
    ITERS, turns = (200, 1) if quick else (SETTINGS["ITERS"], 5)
    cases = {
        (mode, dtype): partial(machine.alone, fit, dtype, ITERS, mode=environment)
        for mode, environment in machine.modes().items()
        for dtype in ("float64", "float32")
    }
    results = machine.take_turns(turns, cases)
    rows = []
    for (mode, dtype), runs in results.items():
        middle = runs.median()
        cost = (runs.recording / runs.bare - 1).median()
        wide = (results[mode, "float64"].recording / runs.recording).median()
        seconds = [f"{middle.bare:.2f}", f"{middle.recording:.2f}", f"{cost:.1%}", f"{wide:.2f}"]
        rows.append([f"{mode}, {dtype}", *seconds, f"{middle.loss:.10g}", f"{middle.accuracy:.4f}"])
    text = f"{machine.described('numpy')}. Medians of {turns}.\n\n{machine.table(HEAD, rows)}"
    machine.publish("fit", text, quick=quick)


if __name__ == "__main__":
    main()
