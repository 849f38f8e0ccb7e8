"""Recording on a server of MLflow's, with PostgreSQL behind it and artifacts that go through it."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from conftest import environment, run_in, small, wait_until
from test_tracking import assert_whole, folders, found

from dognet.runs.folder import ended_runs, read_run
from dognet.stages.once import run_once
from dognet.tracking.store import Store
from dognet.tracking.sync import following

pytestmark = pytest.mark.slow

TOO_LARGE = http.HTTPStatus(413).phrase  # another one from Python 3.13 on

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
    from mlflow import MlflowClient

    run = run_in(grid)
    uri = f"http://me:opensesame@127.0.0.1:{port}"
    with serving():
        opened = Store(uri, grid)
        first = opened.record(folders(grid)[0])
        assert opened.record(folders(grid)[0]) == first
        digest = read_run(folders(grid)[0]).manifest.digest
        assert opened.recorded("grid") == {("digest", digest): float("inf")}
        with pytest.MonkeyPatch.context() as patch:  # cut short by the server's end
            patch.setattr(opened.client, "log_artifacts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                opened.record(folders(grid)[1])
    answer = run("dognet", "sync", "--tracking-uri", uri, check=False)
    assert answer.returncode == 1
    assert "12 runs are not recorded in MLflow (http://127.0.0.1" in answer.stderr
    with serving():
        assert run("dognet", "sync", "--tracking-uri", uri).stdout == "11 recorded, 1 were already there\n"
        assert run("dognet", "sync", "--tracking-uri", uri).stdout == "0 recorded, 12 were already there\n"
        client = MlflowClient(tracking_uri=uri)
        recorded = {one.data.tags["digest"]: one for one in found(client)}
        assert len(found(client)) == len(recorded) == 12
        for folder in folders(grid)[:3]:
            one = recorded[read_run(folder).manifest.digest]
            assert one.info.artifact_uri.startswith("mlflow-artifacts:/")
            assert_whole(client, one, folder)


Rule = Callable[[http.server.BaseHTTPRequestHandler, bytes], "int | None"]


@contextmanager
def proxy(
    port: int, rule: Rule = lambda *_: None, certificate: Path | None = None, client: Path | None = None
) -> Iterator[str]:
    """An address that hands every request on to the server at this port, unless the rule answers with a status.

    With a certificate it speaks TLS, and with a client's certificate only to that client.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            code = rule(self, body)
            if code is not None:  # as nginx does, with a page
                self.answer(code, b"<html>\r\n<head><title>refused</title></head>\r\n</html>")
                return
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            asked = urllib.request.Request(
                f"http://127.0.0.1:{port}{self.path}", body or None, headers, method=self.command
            )
            try:
                with urllib.request.urlopen(asked) as reply:
                    self.answer(reply.status, reply.read())
            except urllib.error.HTTPError as error:
                self.answer(error.code, error.read())

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def answer(self, code: int, content: bytes) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked has given up
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...  # a client that does not trust the certificate

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            if client:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(client)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def slowed(port: int, seconds: float) -> AbstractContextManager[str]:
    """An address that hands every request on to the server at this port, after some seconds."""
    return proxy(port, lambda *_: time.sleep(seconds))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an MLflow server on an SQLite file."""
    folder, number = tmp_path_factory.mktemp("plain server"), free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(number), "--workers", "1"]
    where = environment(folder) | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log, subprocess.Popen(
        words, cwd=folder, env=where, stdout=log, stderr=log, start_new_session=True
    ) as process:  # fmt: skip
        try:
            wait_until(lambda: answers(number) or process.poll() is not None, 120)
            assert process.poll() is None, (folder / "log").read_text()
            yield number
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_run_too_large_for_a_proxy_is_named_and_does_not_hold_up_the_others(grid: Path, plain: int) -> None:
    from mlflow import MlflowClient

    run_once(small(hiddenNodes=1500, ITERS=2, seed=1, study="grid"), grid)
    wide = next(path.name for path in folders(grid) if path.name.startswith("hiddenNodes=1500"))

    def limit(_: http.server.BaseHTTPRequestHandler, body: bytes) -> int | None:
        return 413 if len(body) > 60_000 else None

    run = run_in(grid)
    with proxy(plain, limit) as uri:
        for recorded, there in ((12, 0), (0, 12)):
            answer = run("dognet", "sync", "--tracking-uri", uri, check=False)
            assert answer.returncode == 1
            assert answer.stdout == f"{recorded} recorded, {there} were already there\n"
            reason = f"refused ({uri}: 413 {TOO_LARGE}), `dognet sync` tries again: {wide}"
            assert answer.stderr == f"dognet sync: {reason}\n"
    client = MlflowClient(f"http://127.0.0.1:{plain}")
    assert sorted({one.info.status for one in found(client)}) == ["FAILED", "FINISHED"]
    assert len(found(client)) == 13
    address = f"http://127.0.0.1:{plain}"
    assert run("dognet", "sync", "--tracking-uri", address).stdout == "1 recorded, 12 were already there\n"
    assert [one.info.status for one in found(client)] == ["FINISHED"] * 13


def test_a_missing_permission_on_one_study_does_not_hold_up_the_others(grid: Path, plain: int) -> None:
    for study in ("allowed", "forbidden", "open"):
        run_once(small(ITERS=2, seed=2, study=study), grid)
    shutil.rmtree(grid / "experiments" / "grid")

    def forbid(request: http.server.BaseHTTPRequestHandler, body: bytes) -> int | None:
        return 403 if b"forbidden" in body or "forbidden" in request.path else None

    with proxy(plain, forbid) as uri:
        answer = run_in(grid)("dognet", "sync", "--tracking-uri", uri, check=False)
    assert (answer.returncode, answer.stdout) == (1, "2 recorded, 0 were already there\n")
    assert re.fullmatch(
        rf"dognet sync: refused \({uri}: 403 Forbidden\), `dognet sync` tries .*ITERS=2.*\n", answer.stderr
    )


def test_a_run_that_is_refused_beside_a_training_is_named(
    grid: Path, plain: int, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = small(ITERS=3, hiddenNodes=200, study="beside")
    with proxy(plain, lambda _, body: 413 if len(body) > 5_000 else None) as uri, following("beside", uri, grid):
        folder = run_once(settings, grid).folder
    reason = f"refused ({uri}: 413 {TOO_LARGE}), `dognet sync` tries again: {folder.name}"
    assert capfd.readouterr().err == f"dognet: {reason}\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two certificates that nobody vouches for, each with its key: the server's and the client's."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key", "-out", f"{folder}/certificate"]
        subprocess.run([*words, *more], check=True, capture_output=True)
        (folder / name).write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return folder / "server", folder / "client"


def test_mlflow_s_own_settings_for_tls_user_and_token_hold_for_all_requests(
    grid: Path, plain: int, certificates: tuple[Path, Path]
) -> None:
    server, client = certificates
    shutil.rmtree(grid / "experiments")
    seen: set[str | None] = set()

    def note(request: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
        seen.add(request.headers.get("Authorization"))

    def synced(seed: int, uri: str, **settings: str) -> subprocess.CompletedProcess[str]:
        run_once(small(ITERS=2, seed=seed, study="tls"), grid)
        seen.clear()
        return run_in(grid)("dognet", "sync", "--tracking-uri", uri, check=False, **settings)

    with proxy(plain, note, server) as uri:
        answer = synced(1, uri)
        assert answer.returncode == 1
        assert "its certificate is not trusted: set MLFLOW_TRACKING_SERVER_CERT_PATH" in answer.stderr
        assert answer.stderr.count("\n") == 1
        answer = synced(1, uri, MLFLOW_TRACKING_SERVER_CERT_PATH=str(server))
        assert (answer.stdout, answer.stderr) == ("1 recorded, 0 were already there\n", "")
        answer = synced(2, uri, MLFLOW_TRACKING_INSECURE_TLS="true", MLFLOW_TRACKING_TOKEN="opensesame")
        assert (answer.stdout, answer.stderr) == ("1 recorded, 1 were already there\n", "")
        assert seen == {"Bearer opensesame"}
        me = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "opensesame"}
        answer = synced(3, uri, MLFLOW_TRACKING_INSECURE_TLS="true", **me)
        assert (answer.stdout, answer.stderr) == ("1 recorded, 2 were already there\n", "")
        assert {one and one.partition(" ")[0] for one in seen} == {"Basic"}
        with_password = uri.replace("https://", "https://me:opensesame@")
        answer = run_in(grid)("dognet", "ui", "--tracking-uri", with_password, MLFLOW_TRACKING_INSECURE_TLS="true")
        assert re.search(rf"^tls +all runs +{re.escape(uri)}/#/experiments/\d+/runs", answer.stdout, re.MULTILINE)
        assert "opensesame" not in answer.stdout + answer.stderr
    with proxy(plain, note, server, client) as uri:
        trusted = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(server)}
        assert synced(4, uri, **trusted).returncode == 1
        answer = synced(4, uri, **trusted, MLFLOW_TRACKING_CLIENT_CERT_PATH=str(client))
        assert (answer.stdout, answer.stderr) == ("1 recorded, 3 were already there\n", "")


def test_the_end_of_a_sweep_waits_for_a_slow_server_in_all_and_not_for_each_run(
    project: Path, serving: Callable, port: int
) -> None:
    from mlflow import MlflowClient

    run = run_in(project)
    with serving() as uri, slowed(port, 0.4) as slow:
        begin = time.monotonic()
        answer = run("dognet", "--multirun", "seed=range(40)", "ITERS=20", "study=drowsy", f"tracking_uri={slow}")
        assert time.monotonic() - begin < 120  # all forty would take five minutes
        line = (
            r"dognet: (\d+) runs are not recorded in MLflow \(http.*: slow: \d+ recorded in \d+ s\): `dognet sync` .*\n"
        )
        assert int(re.fullmatch(line, answer.stderr)[1]) < 40
        run("dognet", "sync", "--tracking-uri", uri)
        assert len(found(MlflowClient(tracking_uri=uri), "drowsy")) == 40


def test_a_slow_server_is_reported_and_the_rest_is_recorded_later_once(
    project: Path, serving: Callable, port: int
) -> None:
    from mlflow import MlflowClient

    run = run_in(project)
    with serving() as uri, slowed(port, 1.5) as slow:
        begin = time.monotonic()
        answer = run("dognet", "--multirun", "seed=range(6)", "ITERS=20", "study=slow", f"tracking_uri={slow}")
        assert time.monotonic() - begin < 90  # all six would take minutes
        assert len([run for run in ended_runs(project / "experiments") if run.finished]) == 6
        line = r"dognet: \d runs are not recorded in MLflow \(.*: slow: \d recorded in \d+ s\): `dognet sync` .*\n"
        assert re.fullmatch(line, answer.stderr)
        time.sleep(3)  # the recorder's last request may still be under way
        run("dognet", "sync", "--tracking-uri", uri)
        recorded = [one for one in found(MlflowClient(tracking_uri=uri), "slow") if one.info.status == "FINISHED"]
        assert len({one.data.tags["digest"] for one in recorded}) == len(recorded) == 6
        assert len(found(MlflowClient(tracking_uri=uri), "slow")) == 6
