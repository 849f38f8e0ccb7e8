"""Stage track: record the pipeline's run in MLflow, which has it already if it has the digest of metrics.json."""

from __future__ import annotations

from pathlib import Path

from dognet.conf import compose
from dognet.files import write
from dognet.interrupt import stage
from dognet.project import project_root
from dognet.runs.folder import PIPELINE, finished, read_config, read_metrics, read_run
from dognet.stages.evaluate import finish, trained_manifest
from dognet.tracking import dashboard
from dognet.tracking.store import Store, locate


@stage("track")
def main() -> None:
    """Record the pipeline's run folder; the marker that the stage writes holds its digest."""
    root, metrics = project_root(), read_metrics(PIPELINE)
    uri = locate(compose(Path()).tracking_uri, root)
    if uri == "none":
        message = "tracking_uri is none: nothing is recorded"
    else:
        if not finished(PIPELINE, metrics.digest):  # DVC restored the run's files, and run.json is none of them
            _, identity = read_config(PIPELINE)
            finish(PIPELINE, Path("data", identity.source), trained_manifest(PIPELINE), metrics)
        store = Store(uri, root)
        run_id = store.record(read_run(PIPELINE).folder)
        store.add_pictures(PIPELINE)
        dashboard.save(store, PIPELINE.name)
        message = f"MLflow has it as run {run_id} of the experiment {PIPELINE.name}"
    write(PIPELINE / "tracked", f"{metrics.digest}\n")
    print(message)


if __name__ == "__main__":
    main()
