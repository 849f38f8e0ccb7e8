"""Commands as forks of a process that has the libraries loaded: real processes, without two seconds of imports each."""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBRARIES = [  # all that commands of dognet and DVC import, but nothing of dognet: that comes from each test's project
    *("numpy", "pandas", "pyarrow.csv", "scipy.stats", "pydantic", "yaml", "tqdm", "filelock", "threadpoolctl"),
    *("hydra", "hydra.core.override_parser.overrides_parser", "hydra.experimental.callbacks", "joblib"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg"),
    *("mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "dvc.cli", "dvc.repo", "dvc.commands.repro"),
]

server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(LIBRARIES)


def run(words: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a Python command of the environment, wait for its end, and return its output."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = server.Process(target=become, args=(words, cwd, dict(environment), out, err))
        process.start()
        process.join(timeout=300)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(words, 300)
        return subprocess.CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())


def become(words: Sequence[str], cwd: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    """Run the command in this process, as if a shell had started it, and end."""
    gc.freeze()  # no need to look through the libraries for garbage again
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, name, mode in ((0, os.devnull, "r"), (1, out, "w"), (2, err, "w")):
        with open(name, mode) as file:
            os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))
    script = shutil.which(words[0])
    assert script, words
    sys.argv = [script, *words[1:]]
    here = str(Path(__file__).parent)
    sys.path[:] = [*environment["PYTHONPATH"].split(os.pathsep), *(path for path in sys.path if path not in ("", here))]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # what Python does at its end, and a fork leaves out
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
