"""How fast images are read and checked: python bench/reading.py [--quick]."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import machine

ROWS = 4_000_000


def dognet(path: Path) -> Any:
    """Read and check."""
    from dognet.data import images

    return images.read(path)


def with_pyarrow(path: Path) -> Any:
    """Read into an Arrow table."""
    from pyarrow import csv

    return csv.read_csv(path)


def with_polars(path: Path) -> Any:
    """Read into a polars frame."""
    import polars

    return polars.read_csv(path)


def with_pandas(path: Path) -> Any:
    """Read with pandas' own parser."""
    import pandas as pd

    return pd.read_csv(path, engine="c")


WAYS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "dognet": ("dognet images.read, checked", dognet),
    "pyarrow": ("pyarrow.csv.read_csv", with_pyarrow),
    "polars": ("polars.read_csv", with_polars),
    "pandas": ("pandas.read_csv, engine c", with_pandas),
}


def one(way: str, path: Path, small: Path) -> None:
    """Read once, in this process; print seconds and MB as JSON."""
    read = WAYS[way][1]
    read(small)  # imports are not timed
    before = machine.memory("VmRSS")
    clock, processor = time.perf_counter(), time.process_time()
    table = read(path)
    spent = {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}
    peak = machine.memory("VmHWM") - before
    print(json.dumps(spent | {"MB": peak / 1e6, "rows": len(table)}))


def main() -> None:
    """Compare the readers on one core, taking turns."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--quick", action="store_true", help="40 000 rows, once, what is installed. Writes nothing")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "CSV", "SMALL"), help="read once, here, and print JSON")
    given = parser.parse_args()
    if given.one:
        way, path, small = given.one
        one(way, Path(path), Path(small))
        return
    import numpy as np

    from dognet.data.generate import generate

    rows, turns = (40_000, 1) if given.quick else (ROWS, 5)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS if find_spec(way) or not given.quick}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "images.csv", Path(folder) / "small.csv"]
        for path, n in zip(paths, (rows, 1000), strict=True):
            generate(n, np.random.default_rng(33)).to_csv(path, index=False)
        size = os.path.getsize(paths[0]) / 1e6
        for _ in range(turns):
            for way, runs in found.items():
                runs.append(machine.alone([__file__, "--one", way, *map(str, paths)], {}))
    if any(run["rows"] != rows for runs in found.values() for run in runs):
        sys.exit("a reader lost rows")

    spent = {way: median(run["processor"] for run in runs) for way, runs in found.items()}
    lines = ["| | seconds | MB a second | speed, of the fastest's | peak MB |", "|---|---|---|---|---|"]
    for way, runs in found.items():
        lines.append(
            f"| {WAYS[way][0]} | {spent[way]:.2f} | {size / spent[way]:.0f} | {min(spent.values()) / spent[way]:.2f} "
            f"| {median(run['MB'] for run in runs):.0f} |"
        )
    text = (
        f"{machine.described(*found)}. {rows} rows, {size:.0f} MB, one core, medians of "
        f"{turns}. dognet is to reach 0.33.\n\n" + "\n".join(lines)
    )
    machine.publish("reading", text, quick=given.quick)


if __name__ == "__main__":
    main()
