"""The command ``dognet-ui``: MLflow's own page on the store, opened at the dashboards of the studies."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dognet import config, sync, tracking, views
from dognet.config import ConfigError
from dognet.tracking import Store, StoreError

LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_WORKERS": "1"}  # else 15 processes and 2.5 GB
HOST = "dognet.localhost"  # the loopback in a browser; at 127.0.0.1 MLflow's Assistant opens over a quarter of the page


class ServerError(Exception):
    """MLflow's server doesn't start: why."""


def main() -> None:
    """Show the studies that MLflow has, their runs compared, in the browser of this machine until Ctrl-C."""
    parser = argparse.ArgumentParser("dognet-ui", description=main.__doc__)
    parser.add_argument("study", nargs="?", help="only this one")
    parser.add_argument("--port", type=int, help="5000 if it is free, else any")
    parser.add_argument("--tracking-uri", metavar="URI", help=sync.URI_HELP)
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = config.project_root()
    try:
        uri = sync.store_uri(words.tracking_uri, root)
        if uri.startswith("http"):
            show(dashboards(Store(uri, root), words.study), uri.rstrip("/"))
            return
        if uri.startswith("sqlite") and not Path(uri.removeprefix("sqlite:///")).is_file():
            raise ServerError("MLflow has no runs yet: dognet trains one, dognet-sync records what is trained")
        port = free_port(words.port)
        with tempfile.TemporaryFile() as log, server(uri, root, port, log) as process:
            studies = dashboards(Store(uri, root), words.study)  # while it starts
            wait(process, f"http://127.0.0.1:{port}", log)
            show(studies, f"http://{HOST}:{port}")
            print(f"Ctrl-C ends it. To a browser that can't find {HOST} it is 127.0.0.1", flush=True)
            process.wait()
    except (ConfigError, ServerError, StoreError) as error:
        sys.exit(f"dognet-ui: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def dashboards(store: Store, study: str | None) -> dict[str, str]:
    """Return the experiment of each study with runs, or of this one, the latest first; its views are up to date."""
    studies = store.studies()
    if study is not None and study not in studies:
        raise ServerError(
            f"MLflow has no study {study}, it has {', '.join(studies) or 'none'}; dognet-sync records runs"
        )
    if not studies:
        raise ServerError("MLflow has no runs yet: dognet trains one")
    chosen = {study: studies[study]} if study else studies
    for name in chosen:
        views.save(store, name)
    return chosen


def show(studies: dict[str, str], base: str) -> None:
    """Print the addresses of each study's views."""
    width = max(len(study) for study in studies)
    for study, experiment in studies.items():
        for key, name in views.VIEWS.items():
            print(f"{study:<{width}}  {name:<15}  {views.address(base, experiment, key)}", flush=True)


def free_port(wanted: int | None = None) -> int:
    """Return the port that is wanted, else 5000 if nothing listens there, else a port that is free."""
    for port in (wanted,) if wanted else (5000, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            return int(listener.getsockname()[1])
    raise ServerError(f"port {wanted} is not free: leave --port out, and one that is free is taken")


@contextmanager
def server(uri: str, root: Path, port: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start MLflow's server on the store; in the end all of it is gone."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    names = {
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:{port},127.0.0.1:*,localhost:*",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port}",
    }
    place = {"MLFLOW_BACKEND_STORE_URI": uri}  # not in the command: it may hold a password
    environment = {**names, **os.environ, **LIGHT, **place}
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            end(process)


def wait(process: subprocess.Popen[bytes], base: str, log: IO[bytes]) -> None:
    """Return when the server answers; raise ServerError if it ends instead."""
    while not answers(base):
        if process.poll() is not None:
            log.seek(0)
            last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise ServerError(f"MLflow's server ended: {tracking.without_password(last)}")
        time.sleep(0.1)  # the server does not tell when it is ready


def answers(base: str) -> bool:
    """Return whether the server at this address is ready."""
    try:
        with urllib.request.urlopen(f"{base}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children, which are in a session of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
