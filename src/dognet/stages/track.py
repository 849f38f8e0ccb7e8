"""Stage track: record the pipeline's run in MLflow, unless MLflow has a run with the digest in metrics.json."""

from __future__ import annotations

from pathlib import Path

from dognet.conf import compose
from dognet.files import write
from dognet.interrupt import stage
from dognet.project import project_root
from dognet.runs.folder import PIPELINE, finish, finished, read_config, read_metrics, read_run, trained_manifest
from dognet.runs.run import Run
from dognet.tracking import dashboard
from dognet.tracking.address import locate
from dognet.tracking.store import Store


def whole_run() -> Run:
    """Return the pipeline's run; if DVC restored its files, first write run.json again, which DVC does not keep."""
    if not finished(PIPELINE, read_metrics(PIPELINE).digest):
        _, images = read_config(PIPELINE)
        finish(PIPELINE, Path("data", images.source, "test.csv"), trained_manifest(PIPELINE))
    return read_run(PIPELINE)


@stage("track")
def main() -> None:
    """Record the pipeline's run with its pictures; the marker that the stage writes holds its digest."""
    run, root = whole_run(), project_root()
    uri = locate(compose(Path()).tracking_uri, root)
    if uri == "none":
        message = "tracking_uri is none: nothing is recorded"
    else:
        store = Store(uri, root)
        message = f"recorded in MLflow as run {store.add_pictures(PIPELINE)} of the experiment {PIPELINE.name}"
        dashboard.save(store, PIPELINE.name)
    write(PIPELINE / "tracked", f"{run.figures.digest}\n")
    print(message)


if __name__ == "__main__":
    main()
