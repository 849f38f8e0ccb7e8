"""What recording costs, and how long looking up takes in a store of 10 000 runs.

    python bench/tracking.py [--quick]

Records 100 runs of 10 000 iterations' curves (about 1 min), then copies their rows to 10 000 runs with SQL (2 GB).
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import mean, median
from timeit import repeat, timeit

import machine

from dognet.conf import compose
from dognet.runs.folder import read_manifest
from dognet.stages.once import run_once
from dognet.tracking.store import Store


def main() -> None:
    """Print the figures."""
    n_runs, copies = (3, 2) if machine.quick(__doc__) else (100, 99)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folders = [train(root, seed) for seed in range(n_runs)]
        start = time.perf_counter()
        store = Store(f"sqlite:///{root}/mlflow.db", root)
        print(f"importing MLflow and making the store: {time.perf_counter() - start:.2f} s")
        seconds = [timeit(partial(store.record, folder), number=1) for folder in folders]
        print(f"recording a run: {mean(seconds):.3f} s, the mean of {n_runs}")
        multiply(root / "mlflow.db", copies)
        store = Store(store.uri, root)
        experiment = store.experiment("bench")
        search = partial(store.client.search_runs, [experiment])
        by_digest = partial(search, f"tags.digest = '{read_manifest(folders[n_runs // 2]).digest}'")
        best = partial(search, max_results=100, order_by=["metrics.`final/test_accuracy` DESC"])
        print(f"by digest among {n_runs * (1 + copies)}: {median(repeat(by_digest, number=1)):.3f} s")
        print(f"the table sorted by test accuracy, its first 100: {median(repeat(best, number=1)):.3f} s")


def train(root: Path, seed: int) -> Path:
    """Train a run with as many recorded points as one of 10 000 iterations."""
    words = ("study=bench", f"seed={seed}", "data.train_rows=10", "data.test_rows=10")
    return run_once(compose(machine.ROOT, words), root).folder


def multiply(file: Path, copies: int) -> None:
    """Copy the rows of all runs, under other ids and digests."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        for table in ("runs", "params", "tags", "latest_metrics", "metrics"):
            columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
            changed = {"run_uuid": "run_uuid || '-' || copy", "artifact_uri": "artifact_uri || '-' || copy"}
            if table == "tags":
                changed["value"] = "CASE key WHEN 'digest' THEN value || '-' || copy ELSE value END"
            values = ", ".join(changed.get(name, f'"{name}"') for name in columns)
            names = ", ".join(f'"{name}"' for name in columns)
            database.execute(
                "WITH RECURSIVE copies(copy) AS "
                f"(SELECT 1 UNION ALL SELECT copy + 1 FROM copies WHERE copy < {copies}) "
                f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}, copies"
            )


if __name__ == "__main__":
    main()
