"""Commands as forks of a process that has the libraries loaded: real processes, without two seconds of imports each.

A folder in front of PATH has this file as ``dognet``, ``dvc`` and ``python``. It asks the process with the libraries,
which runs as ``forked.py serve``, for a fork with its own arguments, environment, folder and standard streams, passes
signals on, and ends with the exit code of that fork. Nothing of dognet is loaded beforehand: that comes from the
project in which a command runs.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

LIBRARIES = [
    *("numpy", "pandas", "pyarrow.csv", "scipy.stats", "pydantic", "yaml", "tqdm", "filelock", "threadpoolctl"),
    *("hydra", "hydra.core.override_parser.overrides_parser", "hydra.experimental.callbacks", "joblib"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg"),
    *("mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "dvc.cli", "dvc.repo", "dvc.commands.repro"),
]
STREAMS = (0, 1, 2)
LIMIT = 2**20  # bytes of a request
WORD = 16  # bytes of an answer


# --- the command that a test starts


def ask() -> None:
    """Run the command ``sys.argv`` in a fork and end as it does."""
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    if name == "python" and not (words[:2] == ["-P", "-m"] and words[2].startswith("dognet.")):
        os.execv(os.environ["FORKED_PYTHON"], [os.environ["FORKED_PYTHON"], *words])
    request = json.dumps({"words": [name, *words], "folder": os.getcwd(), "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ["FORKED_SOCKET"])
        server.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", STREAMS))])
        server.shutdown(socket.SHUT_WR)
        pid, ended_by = int(server.recv(WORD)), signal.SIGKILL  # unless another signal is sent

        def pass_on(number: int, _: object) -> None:
            nonlocal ended_by
            ended_by = signal.Signals(number)
            os.kill(pid, number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, pass_on)
        code = server.recv(WORD)
    started_by, answer_to = map(int, os.environ.get("FORKED_ANSWER", "0 0").split())
    if code and started_by == os.getpid():  # a fork became this program: whoever asked for it waits for an answer
        os.write(answer_to, code)
    if not code:  # a signal that it did not catch
        if ended_by != signal.SIGKILL:
            signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    os._exit(int(code))


# --- the process with the libraries


def serve(folder: Path, test_run: int) -> None:
    """Load the libraries, then do one request after the other in forks of this process, until the test run ends."""
    import importlib
    import shutil
    import warnings

    warnings.simplefilter("ignore")
    ignored = warnings.filters[0]
    for library in LIBRARIES:
        importlib.import_module(library)
    warm_up(folder)
    warnings.filters.remove(ignored)  # a command shows its own warnings
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process stays behind that has ended
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/socket.part")
        listening.listen(64)
        listening.settimeout(1)
        os.rename(f"{folder}/socket.part", f"{folder}/socket")
        while Path(f"/proc/{test_run}").exists():
            try:
                client, _ = listening.accept()
            except TimeoutError:
                continue
            answer(client)
            client.close()
    shutil.rmtree(folder)
    Path(f"{folder}.lock").unlink()


def warm_up(folder: Path) -> None:
    """Compose settings and draw a picture once: what the libraries remember of it saves each command some 0.2 s."""
    import io

    import hydra
    from hydra.core.plugins import Plugins
    from hydra.core.singleton import Singleton
    from matplotlib.figure import Figure

    (folder / "config.yaml").write_text("defaults: [_self_]\nword: ${other}\nother: some text\n")
    with hydra.initialize_config_dir(str(folder), version_base=None):
        hydra.compose("config", ["other='a'", "+more=[1,2]"], return_hydra_config=True)
    del Singleton._instances[Plugins]  # each project has its own
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], label="label")
    axes.set(yscale="log", title="title")
    figure.legend()
    figure.savefig(io.BytesIO(), format="svg")


def answer(client: socket.socket) -> None:
    """Start the fork that a client asks for; it tells its process id and, unless a signal kills it, its exit code."""
    content, streams = b"", array.array("i")
    while True:
        piece, rights, _, _ = client.recvmsg(LIMIT, socket.CMSG_SPACE(streams.itemsize * len(STREAMS)))
        for _, _, data in rights:
            streams.frombytes(data)
        if not piece:
            break
        content += piece
    if os.fork():
        for stream in streams:
            os.close(stream)
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in zip(STREAMS, streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    leave, pid = os._exit, os.getpid()

    def tell_and_leave(code: int) -> None:
        if os.getpid() == pid:
            with suppress(OSError):  # the client has been killed
                client.sendall(b"%*d" % (WORD, code))
        leave(code)

    os._exit = tell_and_leave  # dognet calls it too
    try:
        client.sendall(b"%*d" % (WORD, pid))
    except OSError:  # the client was killed at its start, so this is too
        leave(1)
    client.set_inheritable(True)  # dognet restarts itself with another project's source
    request = json.loads(content)
    request["environment"]["FORKED_ANSWER"] = f"{pid} {client.fileno()}"
    become(**request)


def become(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run the command in this process as if a shell had started it, and end."""
    import atexit
    import gc
    import runpy
    import shutil
    import threading
    import traceback

    import colorama.initialise

    gc.freeze()  # no need to look through the libraries for garbage again
    atexit.unregister(colorama.initialise.reset_all)  # DVC's, and no command of dognet loads it
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    ours = f"{Path(environment['FORKED_SOCKET']).parent}/bin"
    script = shutil.which(words[0], path=environment["PATH"].replace(ours + os.pathsep, "")) or words[0]
    sys.executable = f"{ours}/python"  # what dognet starts is a fork too
    lines = 1 if environment.get("PYTHONUNBUFFERED") else -1
    sys.stdin, sys.stdout = os.fdopen(0, "r"), os.fdopen(1, "w", lines)
    sys.stderr = os.fdopen(2, "w", 1)
    sys.path[:] = [*environment.get("PYTHONPATH", "").split(os.pathsep), *sys.path[1:]]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    code = 0
    try:
        if words[0] == "python":
            sys.argv = words[3:]
            runpy.run_module(words[3], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [script, *words[1:]]
            runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # what Python does at its end, and a fork leaves out
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = code or 120
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    ask()
