"""MLflow's own page on the project's store, opened at the dashboards of the studies."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path

from dognet.errors import UserError, without_password
from dognet.tracking import dashboard
from dognet.tracking.address import sqlite_file, store_uri
from dognet.tracking.store import Store, studies_of

HOST = "dognet.localhost"  # the loopback in a browser; at 127.0.0.1 MLflow's Assistant covers a quarter of the page
NO_RUNS = "MLflow has no runs yet: dognet trains one, `dognet sync` records what is trained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dognet ui``."""
    parser.add_argument("study", nargs="?", help="show only this study")
    parser.add_argument("--port", type=int, help="default: 5000 if it is free, else any free port")


def command(options: argparse.Namespace, root: Path) -> None:
    """Print the addresses of the studies' pages in MLflow, and serve the pages on this machine until Ctrl-C."""
    uri = store_uri(options.tracking_uri, root)
    if uri.startswith("http"):
        store = Store(uri, root)
        studies = choose(store.studies(), options.study)
        for name in studies:
            dashboard.save(store, name)
        show(studies, without_password(uri))
        return
    if (file := sqlite_file(uri)) and not file.exists():
        raise UserError(NO_RUNS)
    with listen(options.port) as listener:
        studies = choose(studies_of(uri) or Store(uri, root).studies(), options.study)
        show(studies, f"http://{HOST}:{listener.getsockname()[1]}")
        print(f"Ctrl-C ends it. If your browser can't find {HOST}, use 127.0.0.1", flush=True)
        store = Store(uri, root)
        for name in studies:
            dashboard.save(store, name)
        serve(uri, listener)


def choose(studies: dict[str, str], study: str | None) -> dict[str, str]:
    """Return the named study or, without a name, all studies in MLflow; UserError if there is no such study."""
    if not studies:
        raise UserError(NO_RUNS)
    if study and study not in studies:
        raise UserError(f"MLflow has no study {study}, it has {', '.join(studies)}; `dognet sync` records runs")
    return {study: studies[study]} if study else studies


def show(studies: dict[str, str], base: str) -> None:
    """Print the addresses of the studies' dashboards."""
    for name, experiment in studies.items():
        for key, title in dashboard.DASHBOARDS.items():
            address = dashboard.address(base, experiment, key)
            print(f"{name:<{max(map(len, studies))}}  {title:<15}  {address}", flush=True)


def listen(wanted: int | None) -> socket.socket:
    """Listen on the loopback at the port that is wanted, else at 5000 if nothing listens there, else at a free one."""
    for port in (wanted,) if wanted else (5000, 0):
        with suppress(OSError, OverflowError):
            return socket.create_server(("127.0.0.1", port), backlog=100)  # a browser waits until the server is up
    raise UserError(f"port {wanted} is in use or not allowed: leave out --port, and dognet finds a free one")


def serve(uri: str, listener: socket.socket) -> None:
    """Serve MLflow's page until Ctrl-C.

    The server runs in this process, which has imported MLflow already, and not by `mlflow server`: that imports MLflow
    twice more, in two processes, and took twice as long to answer. The two names with an underscore are MLflow's own,
    by which that command hands its options to its workers.
    """
    port = listener.getsockname()[1]
    hosts = f"{HOST}:{port},127.0.0.1:*,localhost:*"
    os.environ.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", hosts)
    os.environ.setdefault("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", f"http://{HOST}:{port}")
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.environ |= {"_MLFLOW_SERVER_FILE_STORE": uri, "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true"}
    with warnings.catch_warnings(action="ignore"):  # MLflow 3.17 on the newest Starlette: a deprecation at every start
        import uvicorn
        from mlflow.server.fastapi_app import app

    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C is the way to end it, no interruption
    try:
        uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=2)).run([listener])
    except KeyboardInterrupt:
        sys.exit(130)
