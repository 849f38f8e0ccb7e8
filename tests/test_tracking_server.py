"""Recording on a server of MLflow's, with PostgreSQL behind it and artifacts that go through it."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import environment, run_in, wait_until
from mlflow import MlflowClient
from test_tracking import assert_whole, folders, found

from dognet import runs
from dognet.tracking import Store

pytestmark = pytest.mark.slow

Server = Callable[[], "subprocess.Popen[bytes]"]


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The URI of an empty database of a PostgreSQL server."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    found_here = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "").parent]
    binaries = found_here[-1]
    if not (binaries / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # it refuses to run as root
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgres-") as above:  # pytest's own folders are for its user alone
        folder = Path(above, "server")
        folder.mkdir()
        Path(above).chmod(0o755)
        if user:
            shutil.chown(folder, "postgres")
        made = [*user, str(binaries / "initdb"), "-D", f"{folder}/data", "-U", "dog", "--auth=trust", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd="/")
        told = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        words = [*user, str(binaries / "postgres"), "-D", f"{folder}/data", "-p", str(port), *told]
        with Path(above, "log").open("wb") as log, subprocess.Popen(words, cwd="/", stderr=log):
            ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            wait_until(lambda: subprocess.run(ready, check=False).returncode == 0)
            yield f"postgresql+psycopg2://dog:opensesame@127.0.0.1:{port}/postgres"
            os.kill(int((folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGINT)


@pytest.fixture(scope="module")
def port() -> int:
    """The port of MLflow's server."""
    return free_port()


@pytest.fixture(scope="module")
def serving(postgres: str, port: int, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """Runs MLflow's server while a ``with`` lasts."""
    folder = tmp_path_factory.mktemp("server")
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    where = environment(folder) | {"MLFLOW_BACKEND_STORE_URI": postgres, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    where["MLFLOW_DISABLE_TELEMETRY"] = "true"

    @contextmanager
    def serve() -> Iterator[str]:
        with (folder / "log").open("wb") as log, subprocess.Popen(
            [*words, "--artifacts-destination", f"{folder}/artifacts"],
            cwd=folder, env=where, stdout=log, stderr=log, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                wait_until(lambda: answers(port) or process.poll() is not None, 120)
                assert process.poll() is None, (folder / "log").read_text()
                yield f"http://127.0.0.1:{port}"
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    return serve


def answers(port: int) -> bool:
    """Whether the server is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def test_runs_are_recorded_on_a_server_whole_and_once_also_when_it_went_and_came_back(
    grid: Path, serving: Callable, port: int
) -> None:
    run = run_in(grid)
    uri = f"http://me:opensesame@127.0.0.1:{port}"
    with serving():
        opened = Store(uri, grid)
        first = opened.record(folders(grid)[0])
        assert opened.record(folders(grid)[0]) == first
        assert opened.recorded("grid") == {("digest", runs.read(folders(grid)[0]).info["digest"])}
        with pytest.MonkeyPatch.context() as patch:  # cut short by the server's end
            patch.setattr(opened.client, "log_artifacts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                opened.record(folders(grid)[1])
    answer = run("dognet-sync", "--tracking-uri", uri, check=False)
    assert answer.returncode == 1
    assert "12 runs are not recorded in MLflow (http://127.0.0.1" in answer.stderr
    with serving():
        assert run("dognet-sync", "--tracking-uri", uri).stdout == "11 recorded, 1 were there\n"
        assert run("dognet-sync", "--tracking-uri", uri).stdout == "0 recorded, 12 were there\n"
        client = MlflowClient(tracking_uri=uri)
        recorded = {one.data.tags["digest"]: one for one in found(client)}
        assert len(found(client)) == len(recorded) == 12
        for folder in folders(grid)[:3]:
            one = recorded[runs.read(folder).info["digest"]]
            assert one.info.artifact_uri.startswith("mlflow-artifacts:/")
            assert_whole(client, one, folder)


@contextmanager
def slowed(port: int, seconds: float) -> Iterator[str]:
    """An address that hands every request on to the server at this port, after some seconds."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(seconds)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            kept = {name: value for name, value in self.headers.items() if name != "Host"}
            asked = urllib.request.Request(f"http://127.0.0.1:{port}{self.path}", body, kept, method=self.command)
            try:
                with urllib.request.urlopen(asked) as answer:
                    code, content = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                code, content = error.code, error.read()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked has given up
                self.wfile.write(content)

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_the_end_of_a_sweep_waits_for_a_slow_server_in_all_and_not_for_each_run(
    project: Path, serving: Callable, port: int
) -> None:
    run = run_in(project)
    with serving() as uri, slowed(port, 0.4) as slow:
        begin = time.monotonic()
        answer = run("dognet", "--multirun", "seed=range(40)", "ITERS=20", "study=drowsy", f"tracking_uri={slow}")
        assert time.monotonic() - begin < 120  # all forty would take five minutes
        told = (
            r"dognet: (\d+) runs are not recorded in MLflow \(http.*: slow: \d recorded in \d\d s\): dognet-sync .*\n"
        )
        assert int(re.fullmatch(told, answer.stderr)[1]) < 40
        run("dognet-sync", "--tracking-uri", uri)
        assert len(found(MlflowClient(tracking_uri=uri), "drowsy")) == 40


def test_a_slow_server_is_told_and_the_rest_is_recorded_later_once(project: Path, serving: Callable, port: int) -> None:
    run = run_in(project)
    with serving() as uri, slowed(port, 1.5) as slow:
        begin = time.monotonic()
        answer = run("dognet", "--multirun", "seed=range(6)", "ITERS=20", "study=slow", f"tracking_uri={slow}")
        assert time.monotonic() - begin < 90  # all six would take minutes
        assert len([run for run in runs.over(project / "experiments") if run.finished]) == 6
        told = (
            r"dognet: \d runs are not recorded in MLflow \(.*: slow: a run not recorded within 10 s\): dognet-sync .*\n"
        )
        assert re.fullmatch(told, answer.stderr)
        run("dognet-sync", "--tracking-uri", uri)
        recorded = [one for one in found(MlflowClient(tracking_uri=uri), "slow") if one.info.status == "FINISHED"]
        assert len({one.data.tags["digest"] for one in recorded}) == len(recorded) == 6
        assert len(found(MlflowClient(tracking_uri=uri), "slow")) == 6
