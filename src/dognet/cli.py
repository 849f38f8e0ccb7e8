"""The command ``dognet``: one run, or with --multirun a sweep, configured by Hydra."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dognet.config import Config, ConfigError, project_root
from dognet.errors import one_line

HERE = Path(__file__).resolve().parent
CONF = next(folder for folder in (HERE / "conf", HERE.parents[1] / "conf") if folder.is_dir())  # wheel, repository

ConfigStore.instance().store(name="schema", node=Config)


def checked(settings: DictConfig, source: str) -> Config:
    """Return the composed settings as a Config within its bounds; ConfigError tells all faults in one line."""
    config = OmegaConf.to_object(settings)
    assert isinstance(config, Config)
    known = {field.name for field in dataclasses.fields(Config)} - {"source"}
    if unknown := {str(name) for name in settings if name not in known and settings[name] != ""}:
        raise ConfigError(f"no setting {', '.join(sorted(unknown))}")
    return sourced(config, source)


def sourced(config: Config, source: str) -> Config:
    """Return the settings with the name of the folder that holds their images: other images, another folder."""
    from dognet.runs import hash_of

    file = CONF / "data" / f"{source}.yaml"
    as_shipped = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    data = {key: value for key, value in vars(config.data).items() if value is not None}
    name = source if data == as_shipped else f"{source}-{hash_of(data)[:8]}"
    return dataclasses.replace(config, source=name)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def task(settings: DictConfig) -> None:
    """Do one run and show it."""
    from dognet import pipeline, progress
    from dognet.images import ImagesError
    from dognet.nnet import InputError

    try:
        config = checked(settings, HydraConfig.get().runtime.choices["data"])
        with progress.bar(config.ITERS) as report:
            run = pipeline.run(config, project_root(), report=report, overrides=list(HydraConfig.get().overrides.task))
    except (ConfigError, OmegaConfBaseException) as error:
        sys.exit(f"dognet: {one_line(error)}")
    except (ImagesError, InputError, FloatingPointError, MemoryError, OSError) as error:
        sys.exit(f"dognet: {error}")
    print(progress.figures(run))
    print(f"seconds   {run.info['seconds']:.2f}")
    print(os.path.relpath(run.folder))


def main() -> None:
    """Start ``dognet``: whatever goes wrong by the user's or the machine's doing ends it in one line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra hands its errors on instead of printing them over six lines
    try:
        task()
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"dognet: {one_line(error)}")
    except KeyboardInterrupt:
        print("dognet: interrupted", file=sys.stderr)
        sys.exit(130)
