"""Recording beside the training and by ``dognet sync``, with a store that works, and with one that doesn't."""

from __future__ import annotations

import argparse
import contextlib
import http.server
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run, environment, run_in, small, wait_until, with_forks
from test_tracking import folders

from dognet.errors import UserError
from dognet.runs.digest import folder_name
from dognet.runs.folder import read_manifest, read_run, runs_folder, write_manifest
from dognet.stages.once import run_once
from dognet.tracking.store import recorded
from dognet.tracking.sync import command

pytestmark = pytest.mark.integration

TRAINING = """
import shutil, sys, time
from pathlib import Path
from conftest import small
from dognet.stages.once import run_once
from dognet.tracking.sync import following
root, sys.executable = Path.cwd(), shutil.which("python")
with following("grid", sys.argv[1] or None, root):
    run_once(small(study="grid", **dict.fromkeys(sys.argv[3:], True), seed=9), root)
    print("trained", flush=True)
    time.sleep(float(sys.argv[2]))
assert "mlflow" not in sys.modules, "training pays for MLflow"
"""


PYTHONPATH = os.pathsep.join([str(REPOSITORY / "src"), str(Path(__file__).parent)])


def statuses(root: Path) -> list[str]:
    """The statuses of all runs in the project's store."""
    if not (root / "mlflow.db").exists():
        return []
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        return [status for (status,) in database.execute("SELECT status FROM runs")]


def train(
    root: Path, uri: str = "", seconds: float = 0, *settings: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """Train one run in a process of its own, and record it meanwhile: in a fork unless PYTHONPATH is given."""
    words = [sys.executable, "-c", TRAINING, uri, str(seconds), *settings]
    shell = environment(root) if "PYTHONPATH" in more else with_forks(environment(root))
    where = shell | {"PYTHONPATH": PYTHONPATH} | more
    return subprocess.run(words, cwd=root, env=where, capture_output=True, text=True, timeout=200)


def alive(pid: int) -> bool:
    """Whether the process is there, and no mere entry that its parent has not read."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def run(grid: Path) -> Run:
    """Runs a command in the project with the twelve runs."""
    return run_in(grid)


Sync = Callable[..., tuple[str, str]]


@pytest.fixture
def sync(grid: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Does ``dognet sync`` in this process, which has imported MLflow; returns its output and its error."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def work(*folders: Path, uri: str | None = None, root: Path = grid) -> tuple[str, str]:
        fault = ""
        try:
            command(argparse.Namespace(folders=list(folders), tracking_uri=uri), root)
        except UserError as error:
            fault = str(error)
        output, errors = capsys.readouterr()
        return output, errors + fault

    return work


def test_runs_are_recorded_meanwhile_and_what_was_left_before_too(grid: Path) -> None:
    answer = train(grid)
    assert (answer.stdout, answer.stderr, answer.returncode) == ("trained\n", "", 0)
    assert statuses(grid) == ["FINISHED"] * 13


def test_a_run_is_recorded_before_the_sweep_ends(grid: Path) -> None:
    words = [sys.executable, "-c", TRAINING, "", "60"]
    where = environment(grid) | {"PYTHONPATH": PYTHONPATH}
    with subprocess.Popen(words, cwd=grid, env=where, stdout=subprocess.PIPE) as process:
        try:
            wait_until(lambda: statuses(grid) == ["FINISHED"] * 13)
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_training_that_is_ended_leaves_no_process_behind(grid: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-c", TRAINING, "", "60"]
    where = environment(grid) | {"PYTHONPATH": PYTHONPATH}
    with subprocess.Popen(words, cwd=grid, env=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"trained\n"
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(number)
        process.wait(10)
        wait_until(
            lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()
        )


def test_a_complete_study_is_found_complete_without_mlflow(grid: Path, run: Run, sync: Sync) -> None:
    sync()
    program = f"""
import sys
from pathlib import Path
from dognet.tracking.sync import Recorder
root = Path({str(grid)!r})
recorder = Recorder(f"sqlite:///{{root}}/mlflow.db", root, [root / "experiments"])
recorder.catch_up()
assert (recorder.added, recorder.trouble) == ({{}}, None)
assert "mlflow" not in sys.modules
"""
    run(sys.executable, "-c", program)


TELLING = """
import sys
def tell(event, values):
    if event == "subprocess.Popen":
        print("starts", *values[1], file=sys.stderr)
sys.addaudithook(tell)
from dognet.cli import main
main()
"""


def test_a_sweep_with_nothing_to_do_starts_no_process_unless_a_run_is_to_be_recorded(grid: Path, run: Run) -> None:
    words = ("--multirun", "study=two", "seed=1,2", "ITERS=1", "hydra/launcher=basic")
    telling = (sys.executable, "-c", TELLING, *words)
    run("dognet", *words)
    again = run(*telling)
    assert "2 runs, 2 finished, 0 to do" in again.stdout
    assert again.stderr == ""
    (grid / "mlflow.db").unlink()
    assert "dognet.tracking.sync" in run(*telling).stderr
    assert len(statuses(grid)) == 2


def test_dognet_sync_tells_what_it_did_in_one_line(run: Run) -> None:
    first, again = run("dognet", "sync"), run("dognet", "sync")
    assert (first.stdout, first.stderr) == ("12 recorded, 0 were already there\n", "")
    assert (again.stdout, again.stderr) == ("0 recorded, 12 were already there\n", "")


def test_a_command_that_has_ended_leaves_the_store_in_one_file(grid: Path) -> None:
    run_in(grid)("dognet", "sync", PYTHONPATH=str(grid / "src"))  # no fork: how Python itself ends
    assert {path.name for path in grid.glob("mlflow.db*")} == {"mlflow.db", "mlflow.db.lock"}


def test_dognet_sync_takes_the_folders_that_are_named(grid: Path, sync: Sync) -> None:
    assert sync(*folders(grid)[:2]) == ("2 recorded, 0 were already there\n", "")


def test_dognet_sync_names_a_damaged_run_and_goes_on(grid: Path, sync: Sync) -> None:
    first = folders(grid)[0]
    (first / "weights.npz").write_bytes(b"")
    output, errors = sync()
    assert output == "11 recorded, 0 were already there\n"
    assert errors.count("\n") == 1
    assert f"dognet sync: {first}/weights.npz: changed since it was written" in errors


def test_a_changed_letter_in_run_json_is_told_and_the_other_runs_are_recorded(grid: Path, sync: Sync) -> None:
    for path, name in zip(folders(grid), ("study", "digest", "status", "start"), strict=False):
        text = (path / "run.json").read_text()
        assert f'"{name}"' in text
        (path / "run.json").write_text(text.replace(f'"{name}"', f'"{name[:-1]}x"'))
    output, errors = sync()
    assert output == "8 recorded, 0 were already there\n"
    assert errors.splitlines() == [
        f"dognet sync: {path}/run.json: changed since it was written (its checksum differs): skipped"
        for path in folders(grid)[:4]
    ]


def test_a_folder_that_is_not_there_is_told(grid: Path, sync: Sync) -> None:
    assert sync(grid / "nowhere") == ("", f"{grid}/nowhere: no such folder")


def test_a_mistake_in_conf_ends_dognet_sync_in_one_line(grid: Path, run: Run) -> None:
    with (grid / "conf" / "config.yaml").open("a") as file:
        file.write("hiddenNode: 3\n")
    answer = run("dognet", "sync", check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch("dognet sync: .*no setting hiddenNode: did you mean hiddenNodes[?].*\n", answer.stderr)


def test_a_user_without_a_name_can_record(grid: Path, run: Run) -> None:
    words = ("unshare", "--user", "--map-user=4321")  # as in a container
    if run(*words, "true", check=False).returncode:
        pytest.skip("no right to be another user")
    nameless = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"), "")
    nameless["HOME"] = ""
    assert run(*words, "dognet", "sync", **nameless).stdout == "12 recorded, 0 were already there\n"


def test_dognet_sync_rebuilds_a_store_that_was_deleted(grid: Path, run: Run, sync: Sync) -> None:
    sync()
    (grid / "mlflow.db").unlink()
    assert run("dognet", "sync").stdout == "12 recorded, 0 were already there\n"
    assert statuses(grid) == ["FINISHED"] * 12


def test_a_truncated_store_is_named_with_the_way_out(grid: Path, run: Run, sync: Sync) -> None:
    sync()
    os.truncate(grid / "mlflow.db", 200_000)
    shutil.rmtree(grid / "experiments" / "grid" / "runs", ignore_errors=True)
    run_once(small(study="grid", seed=5), grid)
    answer = run("dognet", "sync", check=False)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "the file is damaged: delete it, and `dognet sync` rebuilds it" in answer.stderr


def test_the_progress_of_many_is_shown_on_a_terminal(grid: Path, run: Run) -> None:
    words = "stty rows 24 columns 80; dognet sync"
    answer = run("script", "--quiet", "--return", "--command", words, "/dev/null")
    assert "recording in MLflow:" in answer.stdout
    assert "0/12" in answer.stdout


def test_a_failed_run_is_recorded_too(grid: Path, run: Run) -> None:
    answer = run("dognet", "stepSize=1e308", "dtype=float32", "ITERS=10", check=False)
    assert re.fullmatch("dognet: the weights are no longer finite at iteration .*\n", answer.stderr)
    assert statuses(grid) == ["FAILED"]


def test_a_run_without_a_start_is_told_too_when_it_is_not_recorded(grid: Path, sync: Sync) -> None:
    folder = folders(grid)[0]  # as after DVC has restored it
    write_manifest(folder, read_manifest(folder).model_copy(update={"start": None}))
    output, errors = sync(folder, uri="http://127.0.0.1:9")
    assert output == ""
    assert errors.startswith("1 run is not recorded in MLflow (http://127.0.0.1:9: no answer)")


def test_no_room_for_temporary_files_is_one_line(grid: Path, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")  # where nobody can make a folder
    output, errors = sync()
    assert output == ""
    assert re.fullmatch(
        r"12 runs are not recorded in MLflow \(.*'/proc/dognet-.*'\): `dognet sync` records them", errors
    )


# --- a store that fails


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes every connection and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def failing_server() -> Iterator[str]:
    """A server that answers everything with an error of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_error(500)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextlib.contextmanager
def absent_server() -> Iterator[str]:
    """An address at which nothing listens; with a password, which is told to nobody."""
    yield f"http://me:opensesame@127.0.0.1:{free_port()}"


@pytest.mark.parametrize("server", [absent_server, silent_server, failing_server])
def test_a_store_that_fails_is_reported_once_and_hurts_no_training(
    grid: Path, sync: Sync, server: Callable[[], contextlib.AbstractContextManager[str]]
) -> None:
    with server() as uri:
        begin = time.monotonic()
        answer = train(grid, uri)
        seconds = time.monotonic() - begin
        (line,) = answer.stderr.splitlines()
        assert line.startswith("dognet: 1 run is not recorded in MLflow (http://127.0.0.1:")
        assert line.endswith("): `dognet sync` records it")
        assert (answer.stdout, answer.returncode) == ("trained\n", 0)
        assert "opensesame" not in answer.stderr
        assert seconds < 45  # MLflow itself tries for minutes
        settings = small(study="grid", seed=9)
        assert read_run(runs_folder(grid, "grid") / folder_name(settings)).finished
        output, error = sync(uri=uri)
        assert output == ""
        assert re.fullmatch(
            r"13 runs are not recorded in MLflow \(http://127.0.0.1:.*\): `dognet sync` records them", error
        )
    assert statuses(grid) == []


def test_a_run_that_was_over_before_its_recorder_had_started_is_told(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\ntime.sleep(3 if 'dognet.tracking.sync' in sys.orig_argv else 0)"  # a busy machine
    )
    where = os.pathsep.join([str(tmp_path), PYTHONPATH])
    with absent_server() as uri:
        answer = train(grid, uri, PYTHONPATH=where)
    assert answer.stderr.startswith("dognet: 1 run is not recorded in MLflow (http://127.0.0.1:")


def test_a_store_that_another_program_has_locked_is_told_and_recorded_later(grid: Path, sync: Sync) -> None:
    with contextlib.closing(sqlite3.connect(grid / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        answer = train(grid, f"sqlite:///{grid}/mlflow.db")
        assert (answer.stdout, answer.returncode) == ("trained\n", 0)
        assert "not recorded in MLflow (sqlite:///" in answer.stderr
        assert answer.stderr.count("\n") == 1
        assert "database is locked): `dognet sync` records" in answer.stderr
    assert sync() == ("13 recorded, 0 were already there\n", "")
    assert statuses(grid) == ["FINISHED"] * 13


def test_a_folder_in_place_of_the_store_is_told(grid: Path, sync: Sync) -> None:
    (grid / "mlflow.db").unlink()
    (grid / "mlflow.db").mkdir()
    where = f"sqlite:///{grid}/mlflow.db: {grid}/mlflow.db is a folder: name a file, as in sqlite:///mlflow.db"
    assert sync() == ("", f"12 runs are not recorded in MLflow ({where})")


def test_a_full_disk_is_reported_and_later_the_rest_is_recorded(grid: Path, run: Run) -> None:
    disk = grid / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1900k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        shutil.copy(grid / "mlflow.db", disk)
        uri = f"sqlite:///{disk}/mlflow.db"
        answer = run("dognet", "sync", "--tracking-uri", uri, check=False)
        assert answer.returncode == 1
        assert answer.stderr.count("\n") == 1
        assert " not recorded in MLflow (" in answer.stderr
        before = len(recorded(uri, disk, "grid") or ())
        assert before < 12
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        line = f"{12 - before} recorded, {before} were already there\n"
        assert run("dognet", "sync", "--tracking-uri", uri).stdout == line
        assert statuses(disk) == ["FINISHED"] * 12
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_user_s_own_modules_in_the_root_break_no_recording(grid: Path) -> None:
    for name in ("random", "mlflow", "logging"):
        (grid / f"{name}.py").write_text("raise SystemExit('the user\\'s own module')\n")
    answer = train(grid, PYTHONSAFEPATH="1", PYTHONPATH=PYTHONPATH)
    assert (answer.stdout, answer.stderr) == ("trained\n", "")
    assert statuses(grid) == ["FINISHED"] * 13


def test_pictures_that_are_drawn_after_the_recording_are_added(grid: Path, run: Run, sync: Sync) -> None:
    sync()
    first = "sorted((root / 'experiments/grid/runs').iterdir())[0]"
    drawn = TRAINING.replace("print(", f"({first} / 'curve.svg').write_text('<svg/>'); print(")
    run(sys.executable, "-c", drawn, "", "0", PYTHONPATH=PYTHONPATH)
    assert len(list((grid / "mlartifacts").rglob("curve.svg"))) == 1


def test_a_repeated_run_that_mlflow_has_is_said_to_be_there(grid: Path) -> None:
    assert train(grid).stderr == ""
    answer = train(grid, "", 0, "force")
    assert answer.stderr == "dognet: MLflow already has the repeated run, with the same digest and so the same result\n"


def test_after_an_experiment_was_deleted_sync_brings_it_back(grid: Path, sync: Sync) -> None:
    from mlflow import MlflowClient

    sync()
    MlflowClient(f"sqlite:///{grid}/mlflow.db").delete_experiment("1")
    assert sync() == ("0 recorded, 12 were already there\n", "")
    with closing(sqlite3.connect(grid / "mlflow.db")) as database:
        stages = database.execute("SELECT DISTINCT lifecycle_stage FROM runs").fetchall()
    assert stages == [("active",)]


def test_a_run_that_was_deleted_on_its_own_stays_so_and_is_counted(grid: Path, sync: Sync) -> None:
    from mlflow import MlflowClient

    sync()
    client = MlflowClient(f"sqlite:///{grid}/mlflow.db")
    client.delete_run(client.search_runs(["1"])[0].info.run_id)
    hint = "1 of them deleted in MLflow (`mlflow runs restore` brings one back)"
    assert sync() == (f"0 recorded, 12 were already there, {hint}\n", "")


def test_a_moved_store_is_rebuilt(grid: Path, sync: Sync) -> None:
    sync()
    moved = Path(shutil.move(grid, grid.with_name("moved")))
    _, error = sync(root=moved)
    assert "mlflow.db was moved, MLflow looks for its artifacts in the old folder" in error
    (moved / "mlflow.db").unlink()
    assert run_in(moved)("dognet", "sync").stdout == "12 recorded, 0 were already there\n"


def test_a_uri_that_names_no_store_is_told_at_once_and_hurts_no_training(grid: Path, sync: Sync) -> None:
    answer = train(grid, "./mlruns")
    assert (answer.stdout, answer.stderr.count("\n")) == ("trained\n", 1)
    assert answer.stderr.startswith("dognet: nothing is recorded in MLflow: tracking_uri ./mlruns is not a store")
    assert "dognet sync" not in answer.stderr
    _, error = sync(uri="localhost:5000")
    assert error.endswith("localhost:5000 is not a store that MLflow can write: write http://localhost:5000")


def test_a_store_that_is_read_only_is_told_in_one_line(grid: Path, run: Run) -> None:
    shop = grid / "shop"
    shop.mkdir()
    shutil.copy(grid / "mlflow.db", shop)
    if subprocess.run(["mount", "--bind", shop, shop], capture_output=True).returncode:
        pytest.skip("no right to mount a folder")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", shop], check=True)
        answer = run("dognet", "sync", "--tracking-uri", f"sqlite:///{shop}/mlflow.db", check=False)
        assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
        assert "ead-only file system" in answer.stderr
    finally:
        subprocess.run(["umount", shop], check=True)


def test_nothing_is_recorded_where_the_setting_is_none(grid: Path, sync: Sync) -> None:
    answer = train(grid, "none")
    assert (answer.stdout, answer.stderr) == ("trained\n", "")
    assert statuses(grid) == []
    assert sync(uri="none") == ("", "tracking_uri is none: nothing is recorded")
