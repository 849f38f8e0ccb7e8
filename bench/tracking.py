"""What recording costs, and how long looking up takes in a store of 10 000 runs.

    python bench/tracking.py

Records 100 runs of 10 000 iterations' curves (about 1 min), then copies their rows to 10 000 runs with SQL (2 GB).
"""

from __future__ import annotations

import dataclasses
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from dognet import config, pipeline, runs, tracking
from dognet.tracking import Store

REPOSITORY = Path(__file__).resolve().parents[1]
COPIES = 99  # of each of the 100 runs


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folders = [train(root, seed) for seed in range(100)]
        clock = time.perf_counter()
        store = Store(tracking.locate(None, root), root)
        print(f"importing MLflow and making the store: {time.perf_counter() - clock:.2f} s")
        seconds = [timed(lambda folder=folder: store.record(folder)) for folder in folders]
        print(f"recording a run: {statistics.median(seconds):.3f} s in the middle, {max(seconds):.3f} s at most")
        print(f"recording 100 runs: {sum(seconds) / 100:.3f} s each")
        seconds = [timed(lambda folder=folder: store.record(folder)) for folder in folders]
        print(f"finding it recorded: {statistics.median(seconds):.3f} s")
        multiply(root / "mlflow.db")
        store.analyze()
        experiment = store.experiment("bench")
        digest = runs.read(folders[50]).info["digest"]
        find = f"tags.digest = '{digest}'"
        best = ["metrics.`final/test_accuracy` DESC"]
        print(f"by digest among 10 000: {middle(lambda: store.client.search_runs([experiment], find)):.3f} s")
        table = middle(lambda: store.client.search_runs([experiment], max_results=100, order_by=best))
        print(f"the table sorted by test accuracy, its first 100: {table:.3f} s")
        print(f"all identities: {middle(lambda: tracking.recorded(store.uri, 'bench')):.3f} s")


def train(root: Path, seed: int) -> Path:
    """Train a run with as many recorded points as one of 10 000 iterations."""
    usual = config.load(REPOSITORY)
    data = dataclasses.replace(usual.data, train_rows=10, test_rows=10)
    return pipeline.run(dataclasses.replace(usual, study="bench", seed=seed, data=data), root).folder


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that it takes."""
    clock = time.perf_counter()
    work()
    return time.perf_counter() - clock


def middle(work: Callable[[], object]) -> float:
    """Return the median of the seconds that it takes five times."""
    return statistics.median(timed(work) for _ in range(5))


def multiply(file: Path) -> None:
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
                f"(SELECT 1 UNION ALL SELECT copy + 1 FROM copies WHERE copy < {COPIES}) "
                f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}, copies"
            )


if __name__ == "__main__":
    main()
