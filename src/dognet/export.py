"""The command ``dognet-export``: the best run's network as an MLflow model, in a folder or in MLflow's registry.

    MLmodel                   what goes in and comes out, digest, settings, figures
    served.py                 what MLflow runs
    artifacts/weights.npz     the network
    code/dognet/              nnet.py and descent.py: where the model is used, nobody needs dognet
    requirements.txt          mlflow and numpy as they are here
    input_example.json        a black and a white image

No pickle is among it, no image of the user's and no path of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from dognet import config, images, runs, sync, tracking
from dognet.config import FOLDER_NAME, ConfigError
from dognet.files import sha256, write
from dognet.network import InputError
from dognet.runs import Run, RunError
from dognet.tracking import Store, StoreError

HERE = Path(__file__).resolve().parent
# in the model's package: dognet's other modules are found where it is installed
OPEN = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
PIPELINE = runs.PIPELINE.name


class ExportError(Exception):
    """What can't be exported: which, why, the way out."""


# --- the model


def pixels(run: Run, root: Path) -> list[str]:
    """Return the names of the pixels: those of the training images if they are there as they were, else numbers."""
    file = root / "data" / run.config["data"]["source"] / "train.csv"
    if file.is_file() and sha256(file) == run.config["data"]["train_sha256"]:
        with images.rows_of(file) as rows:
            return list(next(rows)[1:])  # the label comes first
    return [f"pixel{number}" for number in range(len(run.net().weights()[0]) - 1)]


def told(run: Run) -> dict[str, Any]:
    """Return what goes with a model to say what it is."""
    which = {"digest": run.info["digest"], "study": run.info["study"], "folder": run.folder.name}
    return which | {name: run.metrics[name] for name in ("train_loss", "test_accuracy")} | tracking.params(run)


def save(run: Run, folder: Path, names: list[str]) -> None:
    """Write the run's network as an MLflow model into a new folder."""
    tracking.quiet()
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types.schema import ColSpec, Schema

    # not "double": a table of whole numbers isn't one to MLflow, and refused; what isn't a number NNet refuses
    inputs = Schema.from_json(json.dumps([{"name": name, "type": "any", "required": True} for name in names]))
    outputs = Schema([ColSpec("string", "label"), ColSpec("double", "probability")])
    with tracking.checked_copy(run.folder) as copy:
        save_model(
            str(folder),
            python_model=str(HERE / "served.py"),
            artifacts={"weights": str(copy.folder / "weights.npz")},
            model_config={"positive": run.config["data"]["positive"]},
            signature=ModelSignature(inputs, outputs),
            input_example=pd.DataFrame([[value] * len(names) for value in (0, 255)], columns=names),
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("mlflow", "numpy")],
            metadata=told(run),
        )
    package = folder / "code" / "dognet"  # by hand: of a full disk MLflow's code_paths makes another error
    package.mkdir(parents=True)
    write(package / "__init__.py", OPEN)
    for module in ("nnet.py", "descent.py"):
        shutil.copy(HERE / module, package)
    model = Model.load(str(folder))
    flavor = model.flavors["python_function"]
    flavor["code"] = "code"
    flavor["model_code_path"] = "served.py"  # MLflow notes where they came from, on this machine
    flavor["artifacts"]["weights"]["uri"] = "weights.npz"
    model.save(str(folder / "MLmodel"))


def export(run: Run, folder: Path, names: list[str]) -> None:
    """Write the model to a folder of its own: whole, or not at all."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        save(run, part, names)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_free(folder: Path) -> None:
    """Raise ExportError unless nothing stands where the folder is to be."""
    if folder.is_symlink() or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ExportError(f"{os.path.relpath(folder)} is there already: delete it, or name another folder with --to")


# --- MLflow's registry


def register(run: Run, name: str, store: Store, names: list[str]) -> str:
    """Register the run's network under a name, unless one of its versions is that; tell which version it is."""
    from mlflow.entities import LoggedModelOutput, Metric

    run_id, tags = store.record(run.folder), {key: str(value) for key, value in told(run).items()}
    client = store.client
    with store.writing():
        for version in client.search_model_versions(f"name = '{name}' and tags.digest = '{tags['digest']}'"):
            return f"models:/{name}/{version.version} was there"
        model = client.create_logged_model(store.experiment(run.info["study"]), name, run_id, tags)
        with tempfile.TemporaryDirectory(prefix="dognet-") as temporary:
            save(run, Path(temporary, "model"), names)
            client.log_model_artifacts(model.model_id, str(Path(temporary, "model")))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, run.config["ITERS"])])
        rows = [row for row in tracking.metrics(run) if row[0].startswith("final/")]  # not how training began
        client.log_batch(run_id, [Metric(*row, model_id=model.model_id, run_id=run_id) for row in rows])
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        version = client.create_model_version(
            name, f"models:/{model.model_id}", run_id, tags, description=described(run), model_id=model.model_id
        )
    return f"models:/{name}/{version.version}"


def described(run: Run) -> str:
    """Return in a line which run it is and how good."""
    return f"study {run.info['study']}, run {run.folder.name}: {figures(run)}, digest {run.info['digest']}"


def figures(run: Run) -> str:
    """Return how good it is."""
    return "train loss {train_loss:.4g} nats, test accuracy {test_accuracy:.4g}".format(**run.metrics)


def main() -> None:
    """Give a network away: as an MLflow model in a folder, or as a version in MLflow's registry.

    Of a study it is the run with the least train loss.
    """
    parser = argparse.ArgumentParser("dognet-export", description=main.__doc__)
    parser.add_argument("run", nargs="?", default=PIPELINE, help="a study or a run folder, if not dvc repro's run")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="a new folder, if not models/<study>")
    parser.add_argument("--register", metavar="NAME", help="into MLflow's registry, and no folder unless --to says so")
    parser.add_argument("--tracking-uri", metavar="URI", help=sync.URI_HELP)
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = config.project_root()
    try:
        from dognet.report import run_of  # and Hydra with it: not for --help

        run = run_of(words.run, root)
        names = pixels(run, root)
        folder = words.to or (None if words.register else root / "models" / run.info["study"])
        if folder:
            check_free(folder := folder.resolve())
        if words.register is not None and not FOLDER_NAME[1](words.register):
            raise ExportError(f"--register must be {FOLDER_NAME[0]}, got {words.register!r}")
        print(f"{os.path.relpath(run.folder)}: {figures(run)}")
        if folder:
            export(run, folder, names)
            print(os.path.relpath(folder))
        if words.register:
            print(register(run, words.register, Store(sync.store_uri(words.tracking_uri, root), root), names))
    except (ConfigError, ExportError, InputError, RunError, StoreError, OSError) as error:
        sys.exit(f"dognet-export: {error}")
