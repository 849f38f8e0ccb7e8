"""The network of a run as an MLflow model, in a folder or in MLflow's registry.

    MLmodel                   what goes in and comes out, digest, settings, figures
    served.py                 what MLflow runs
    artifacts/weights.npz     the network
    code/dognet/network/      its code, so that users of the model do not need dognet
    requirements.txt          mlflow and numpy in the versions used here
    input_example.json        a black and a white image

It contains no pickle, no image of the user's and no path of this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from dognet.errors import UserError
from dognet.network import NNet
from dognet.project import PACKAGE
from dognet.runs.run import Run
from dognet.settings import PLAIN_NAME, bound
from dognet.tracking import entry, store
from dognet.tracking.address import store_uri
from dognet.tracking.store import Store

# the __init__.py of the model's own package dognet: where dognet is installed, its other modules are still found
OPEN = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dognet export``."""
    parser.add_argument("runs", nargs="*", help="studies or run folders; default: the run of dvc repro")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="a new folder; default: models/<study>")
    parser.add_argument("--register", metavar="NAME", help="a name in MLflow's registry; writes no folder without --to")


def command(options: argparse.Namespace, root: Path, run: Run) -> None:
    """Export the network of a run as an MLflow model: into a folder, or as a version in MLflow's registry.

    A study stands for its run with the lowest validation loss, or train loss where there are no validation images.
    """
    folder = options.to or (None if options.register is not None else root / "models" / run.manifest.study)
    if folder:
        folder = folder.resolve()
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise UserError(f"{os.path.relpath(folder)} already exists: delete it, or name another folder with --to")
    if options.register is not None and not PLAIN_NAME.fullmatch(options.register):
        raise UserError(f"--register must be {bound('study')}, got {options.register!r}")
    print(f"{os.path.relpath(run.folder)}: {run.figures.summary()}")
    if folder:
        export(run, folder)
        print(os.path.relpath(folder))
    if options.register:
        print(register(run, options.register, Store(store_uri(options.tracking_uri, root), root)))


def export(run: Run, folder: Path) -> None:
    """Write the model to a folder of its own: whole, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(".part", f"{folder.name}.", folder.parent) as part:
        save(run, Path(part, "model"))
        Path(part, "model").rename(folder)


def save(run: Run, folder: Path) -> None:
    """Write the run's network as an MLflow model into a new folder."""
    store.quiet()
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types.schema import AnyType, ColSpec, Schema

    names = run.images.pixels
    # not "double": MLflow would refuse a table of whole numbers; served.py refuses what is no number
    inputs = Schema([ColSpec(AnyType(), name) for name in names])  # type: ignore[no-untyped-call]  # of MLflow
    outputs = Schema([ColSpec("string", "label"), ColSpec("double", "probability")])
    with store.checked_copy(run.folder) as copy:
        net = NNet.load(copy.folder / "weights.npz")
        NNet(*net.weights(), net.y_classes).save(copy.folder / "weights.npz")  # without what training resumes from
        save_model(
            str(folder),
            python_model=str(PACKAGE / "tracking" / "served.py"),
            artifacts={"weights": str(copy.folder / "weights.npz")},
            model_config={"positive": run.images.positive},
            signature=ModelSignature(inputs, outputs),
            input_example=pd.DataFrame([[value] * len(names) for value in (0, 255)], columns=list(names)),
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("mlflow", "numpy")],
            metadata=description(run),
        )
    add_network(folder)


def add_network(folder: Path) -> None:
    """Copy the network's code into a model, and take the paths of this machine out of it.

    MLflow's own ``code_paths`` takes whole packages only, and hides a full disk behind another error.
    """
    from mlflow.models import Model

    package = folder / "code" / "dognet"
    (package / "network" / "methods").mkdir(parents=True)
    (package / "__init__.py").write_text(OPEN)
    for module in (PACKAGE / "network").rglob("*.py"):
        shutil.copy(module, package / module.relative_to(PACKAGE))
    model = Model.load(str(folder))
    flavor = model.flavors["python_function"]
    flavor["code"] = "code"
    flavor["model_code_path"] = "served.py"
    flavor["artifacts"]["weights"]["uri"] = "weights.npz"
    model.save(str(folder / "MLmodel"))


def register(run: Run, name: str, opened: Store) -> str:
    """Register the run's network under a name, unless a version with its digest exists; return the version's URI."""
    from mlflow.entities import LoggedModelOutput, Metric

    run_id, tags = opened.record(run.folder), {key: str(value) for key, value in description(run).items()}
    client = opened.client
    with opened.writing():
        for version in client.search_model_versions(f"name = '{name}' and tags.digest = '{tags['digest']}'"):
            return f"models:/{name}/{version.version} is already registered"
        model = client.create_logged_model(opened.experiment(run.manifest.study), name, run_id, tags)
        with tempfile.TemporaryDirectory(prefix="dognet-") as temporary:
            save(run, Path(temporary, "model"))
            client.log_model_artifacts(model.model_id, str(Path(temporary, "model")))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, run.settings.ITERS)])
        of_model = [
            Metric(one.key, one.value, one.timestamp, one.step, model.model_id, run_id=run_id)
            for one in entry.metrics(run)
            if one.key.startswith("final/")  # the curves show how it began
        ]
        client.log_batch(run_id, of_model)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        about = (
            f"study {run.manifest.study}, run {run.folder.name}: {run.figures.summary()}, digest {run.manifest.digest}"
        )
        source = f"models:/{model.model_id}"
        version = client.create_model_version(name, source, run_id, tags, description=about, model_id=model.model_id)
    return f"models:/{name}/{version.version}"


def description(run: Run) -> dict[str, str | float]:
    """Return the metadata stored with an exported model: which run it is, its figures and settings."""
    which = {"digest": str(run.manifest.digest), "study": run.manifest.study, "folder": run.folder.name}
    return which | run.figures.by_name() | entry.params(run)
