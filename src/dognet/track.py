"""Stage track: the pipeline's run in MLflow, which has it already if it has the digest of metrics.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dognet import config as settings
from dognet import runs, tracking, views
from dognet.config import ConfigError, project_root
from dognet.files import sha256, write
from dognet.interrupt import interruptible
from dognet.runs import PIPELINE, Run, RunError
from dognet.tracking import Store, StoreError


def restored(digest: str) -> Run:
    """Finish the run folder as DVC restored it, without its run.json: only its files tell of it."""
    described = runs.settings(PIPELINE)
    test_sha256 = sha256(Path("data", described["data"]["source"], "test.csv"))
    info = {"study": "pipeline", "digest": digest, "trajectory": runs.trajectory(described), "test_sha256": test_sha256}
    return runs.finish(PIPELINE, info)


@interruptible("track")
def main() -> None:
    """Record the pipeline's run folder in MLflow; the marker that the stage leaves holds its digest."""
    root = project_root()
    try:
        digest = runs.parse(PIPELINE / "metrics.json", json.loads)["digest"]
        uri = tracking.locate(settings.load(Path()).tracking_uri, root)
        told = "tracking_uri is none: nothing is recorded"
        if uri != "none":
            run = runs.finished(PIPELINE, digest) or restored(digest)
            store = Store(uri, root)
            told = f"MLflow has it as run {store.record(run.folder)} of the experiment pipeline"
            views.save(store, "pipeline")
        write(PIPELINE / "tracked", f"{digest}\n")
    except StoreError as error:
        sys.exit(f"track: {tracking.lacking(1, str(error))}")
    except (ConfigError, RunError, OSError) as error:
        sys.exit(f"track: {error}")
    print(told)


if __name__ == "__main__":
    main()
