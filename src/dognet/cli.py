"""The command ``dognet``: one run, or with --multirun a sweep, configured by Hydra."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dognet import studies
from dognet.config import Config, ConfigError, plain, project_root
from dognet.errors import NAMES, SweepError, one_line, raised_in_hydra, unknown_name

HERE = Path(__file__).resolve().parent
CONF = next(  # the project's own, else the wheel's, else the repository's
    folder
    for folder in (project_root() / "conf", HERE / "conf", HERE.parents[1] / "conf")
    if (folder / "data" / "generated.yaml").is_file()
)

ConfigStore.instance().store(name="schema", node=Config)


def checked(settings: DictConfig, source: str) -> Config:
    """Return the composed settings as a Config within its bounds; ConfigError tells all faults in one line."""
    config = OmegaConf.to_object(settings)
    assert isinstance(config, Config)
    known = {field.name for field in dataclasses.fields(Config)} - {"source"}
    if unknown := {str(name) for name in settings if name not in known and settings[name] != ""}:
        raise ConfigError("; ".join(map(unknown_name, sorted(unknown))))
    return sourced(config, source)


def sourced(config: Config, source: str) -> Config:
    """Return the settings with the name of the folder that holds their images: other images, another folder."""
    from dognet.runs import hash_of

    data = {key: value for key, value in vars(config.data).items() if value is not None}
    name = plain(source) if data == in_conf(source) else f"{source}-{hash_of(data)[:8]}"
    return dataclasses.replace(config, source=name)


@functools.cache
def in_conf(source: str) -> dict[str, Any]:
    """Return what conf/data/ says of these images."""
    file = CONF / "data" / f"{source}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def task(settings: DictConfig) -> None:
    """Do one run and show it."""
    if study := HydraConfig.get().runtime.choices.get("experiment"):
        sys.exit(f"dognet: experiment={study} is a study, so many runs: dognet --multirun experiment={study}")
    if HydraConfig.get().mode == RunMode.MULTIRUN:  # another sweeper than ours, which checks, skips and goes on
        sys.exit("dognet: a sweep is for hydra/sweeper=study: leave hydra/sweeper out")
    from dognet import pipeline, progress, runs, sync
    from dognet.images import ImagesError
    from dognet.network import InputError
    from dognet.runs import RunError

    try:
        config = checked(settings, HydraConfig.get().runtime.choices["data"])
    except (ConfigError, OmegaConfBaseException) as error:
        sys.exit(f"dognet: {one_line(error)}")
    if config.plan:
        sys.exit("dognet: plan=true tells what a sweep would train: dognet --multirun … plan=true")
    root, overrides, began, fault = project_root(), list(HydraConfig.get().overrides.task), runs.now(), None
    with sync.following(config.study, config.tracking_uri, root):
        try:
            with progress.bar(config.ITERS) as report:
                run = pipeline.run(config, root, report=report, overrides=overrides)
            print(progress.figures(run))
            print(os.path.relpath(run.folder) + (", already trained" if run.info["start"] < began else ""), flush=True)
        except (ImagesError, InputError, RunError, FloatingPointError, MemoryError, OSError) as error:
            fault = f"dognet: {error}"  # the failed run is recorded first
    sys.exit(fault)


def main() -> None:
    """Start ``dognet``: whatever goes wrong by the user's or the machine's doing ends it in one line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra hands its errors on instead of printing them over six lines
    start()


def start() -> None:
    """Do what the command line asks; what it can't have is told in a line for each fault."""
    studies.register(project_root())
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))  # first, or Hydra refuses
    for word in sys.argv[1:]:
        name = word.lstrip("-").partition("=")[0]
        if word.startswith("-") and name in NAMES:
            sys.exit(f"dognet: no option {word}: settings are written {name}=value")
    try:
        task()
    except SweepError as error:
        sys.exit("\n".join(f"dognet: {line}" for line in str(error).splitlines()))
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"dognet: {one_line(error)}")
    except yaml.YAMLError as error:
        sys.exit(f"dognet: {' '.join(str(error).split())}")
    except OSError as error:  # a disk that is full, or not to be written
        sys.exit(f"dognet: {error}")
    except (TypeError, ValueError, RuntimeError) as error:
        if not raised_in_hydra(error):
            raise
        sys.exit(f"dognet: Hydra can't work with these overrides ({error}): write name=value, as in hiddenNodes=8")
