"""How fast images are read and checked: python bench/reading.py [--quick]."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import machine

ROWS = 4_000_000
WAYS = {  # by package: the name in the table, and the function
    "dognet": ("dognet images.read, checked", "dognet.data.images:read"),
    "pyarrow": ("pyarrow.csv.read_csv", "pyarrow.csv:read_csv"),
    "polars": ("polars.read_csv", "polars:read_csv"),
    "pandas": ("pandas.read_csv, engine c", "pandas:read_csv"),
}


def reading(way: str, path: Path, small: Path) -> dict[str, float]:
    """Read once; return seconds, MB and rows."""
    read = resolve_name(WAYS[way][1])
    read(small)  # imports are not timed
    before, start = machine.memory("VmRSS"), time.process_time()
    table = read(path)
    seconds = time.process_time() - start
    return {"seconds": seconds, "MB": (machine.memory("VmHWM") - before) / 1e6, "rows": len(table)}


def main() -> None:
    """Compare the readers on one core, taking turns; with --quick those that are installed."""
    import numpy as np

    from dognet.data.generate import generate

    quick = machine.quick(__doc__)
    rows, turns = (40_000, 1) if quick else (ROWS, 5)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "images.csv", Path(folder) / "small.csv"]
        for path, n in zip(paths, (rows, 1000), strict=True):
            generate(n, np.random.default_rng(33)).to_csv(path, index=False)
        size = os.path.getsize(paths[0]) / 1e6
        ways = [way for way in WAYS if find_spec(way) or not quick]
        found = machine.take_turns(turns, {way: partial(machine.alone, reading, way, *paths) for way in ways})
    if any((runs["rows"] != rows).any() for runs in found.values()):
        sys.exit("a reader lost rows")

    middle = {way: runs.median() for way, runs in found.items()}
    fastest = min(each.seconds for each in middle.values())
    cells = [
        [WAYS[way][0], *(f"{s:.2f}", f"{size / s:.0f}", f"{fastest / s:.2f}", f"{MB:.0f}")]
        for way, (s, MB, _) in middle.items()
    ]
    table = machine.table(["", "seconds", "MB a second", "speed, of the fastest's", "peak MB"], cells)
    about = f"{rows} rows, {size:.0f} MB, one core, medians of {turns}. dognet is to reach 0.33."
    machine.publish("reading", f"{machine.described(*found)}. {about}\n\n{table}", quick=quick)


if __name__ == "__main__":
    main()
