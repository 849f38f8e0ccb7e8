"""One run in one process, as ``dognet`` does it; `dvc repro` does the same in steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dognet.files import sha256_once
from dognet.network import Callback
from dognet.runs import folder as folders
from dognet.runs.digest import digest, folder_name
from dognet.runs.run import Run
from dognet.settings import Settings
from dognet.stages.evaluate import evaluate
from dognet.stages.fetch import fetch
from dognet.stages.train import train


def run_once(settings: Settings, root: Path, *, callback: Callback | None = None, overrides: Sequence[str] = ()) -> Run:
    """Fetch the images, train and evaluate one run, and return it; a finished run is trained again only if forced.

    An error in training is saved in the folder (status ``failed``) and raised again. A mistake in the images leaves the
    folder as it is.
    """
    folder = folders.runs_folder(root, settings.study) / folder_name(settings)
    identity = fetch(settings, root)
    data = root / "data" / settings.source
    test_sha256 = sha256_once(data / "test.csv")
    name = digest(settings, identity, test_sha256)
    with folders.alone(folder):
        if not settings.force and (done := folders.finished(folder, name)):
            return done
        manifest = folders.new_manifest(settings.study, settings, identity, start=folders.now())
        known = {"digest": name, "test_sha256": test_sha256, "overrides": tuple(overrides)}
        manifest = manifest.model_copy(update=known)
        try:
            manifest = train(settings, identity, data, folder, manifest, callback=callback)
            evaluate(data, folder)
            folders.finish(folder, data / "test.csv", manifest)
        except Exception as error:
            finished = [run.manifest.digest for run in folders.ended_runs(folder) if run.finished]
            replaced = finished and (settings.force or name in finished)  # it stays until the new run is trained
            if not replaced:
                folders.fail(folder, settings, identity, manifest, error)
            raise
        return folders.read_run(folder)
