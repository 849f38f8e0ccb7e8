"""What recording costs and what float32 buys, in the lecture's training: python bench/fit.py [--quick]."""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

import machine
from training import SETTINGS, images


def one(dtype: str, ITERS: int) -> None:
    """Fit without and with recording, in this process; print seconds and the last recorded point as JSON."""
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
    print(json.dumps(spent | {"points": len(curve), "loss": curve[-1][1], "accuracy": curve[-1][2]}))


def main() -> None:
    """Compare float64 and float32, with and without recording, in every mode."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="200 iterations, once: does it work? Writes nothing")
    parser.add_argument("--one", choices=["float64", "float32"], help="fit here, and print JSON")
    parser.add_argument("--ITERS", type=int, default=SETTINGS["ITERS"])
    given = parser.parse_args()
    if given.one:
        one(given.one, given.ITERS)
        return
    ITERS, turns = (200, 1) if given.quick else (given.ITERS, 5)
    cases = [(mode, dtype) for mode in machine.modes() for dtype in ("float64", "float32")]
    results: dict[tuple[str, str], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(turns):
        for mode, dtype in cases:
            arguments = [__file__, "--one", dtype, "--ITERS", str(ITERS)]
            results[mode, dtype].append(machine.alone(arguments, machine.modes()[mode]))

    lines = [
        "| | seconds, bare | recording | costs | times as fast as float64 | train loss | train accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for mode, dtype in cases:
        runs = results[mode, dtype]
        bare, recording = (median(run[name] for run in runs) for name in ("bare", "recording"))
        cost = median(run["recording"] / run["bare"] - 1 for run in runs)
        wide = median(a["recording"] / b["recording"] for a, b in zip(results[mode, "float64"], runs, strict=True))
        lines.append(
            f"| {mode}, {dtype} | {bare:.2f} | {recording:.2f} | {cost:.1%} | {wide:.2f} "
            f"| {runs[0]['loss']:.10g} | {runs[0]['accuracy']:.4f} |"
        )
    text = f"{machine.described('numpy')}. Medians of {turns}.\n\n" + "\n".join(lines)
    machine.publish("fit", text, quick=given.quick)


if __name__ == "__main__":
    main()
