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
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dognet.config import Config, ConfigError, project_root

HERE = Path(__file__).resolve().parent
CONF = next(folder for folder in (HERE / "conf", HERE.parents[1] / "conf") if folder.is_dir())  # wheel, repository

ConfigStore.instance().store(name="schema", node=Config)


def checked(settings: DictConfig, source: str) -> Config:
    """Return the composed settings as a Config within its bounds, or raise an error of one line."""
    try:
        config = OmegaConf.to_object(settings)
    except (ConfigError, OmegaConfBaseException) as error:
        raise ConfigCompositionException(str(error).splitlines()[0]) from error
    assert isinstance(config, Config)
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

    config = checked(settings, HydraConfig.get().runtime.choices["data"])
    try:
        with progress.bar(config.ITERS) as report:
            run = pipeline.run(config, project_root(), report=report, overrides=list(HydraConfig.get().overrides.task))
    except (ImagesError, FloatingPointError, OSError) as error:
        sys.exit(f"dognet: {error}")
    print(progress.figures(run))
    print(f"seconds   {run.info['seconds']:.2f}")
    print(os.path.relpath(run.folder))


def main() -> None:
    """Start ``dognet``: SIGTERM and Ctrl-C end it in one line, with the exit codes that shells expect."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        task()
    except KeyboardInterrupt:
        sys.exit(130)
