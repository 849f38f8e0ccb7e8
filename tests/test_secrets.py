"""Who can reach what: nothing listens but on the loopback, no secret is kept, no name leaves its folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Run, environment, make_project, run_in, wait_until

SECRET = "hunter" + "2" * 4  # as a whole it stands in no file of the project


def family(pid: int) -> set[int]:
    """The process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return set()
    return {pid}.union(*[family(int(child)) for child in children])


def listening(pids: set[int]) -> set[str]:
    """The addresses at which these processes listen, in hex as the kernel tells them."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(os.readlink(link).removeprefix("socket:["))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            listens = cells[3] == "0A" if table.startswith("tcp") else cells[2].endswith(":0000")
            if listens and f"{cells[9]}]" in inodes:
                found.add(cells[1].partition(":")[0])
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


@pytest.mark.parametrize("words", [["dognet", "--multirun", "seed=1,2", "ITERS=2000"], ["dognet", "ui"]])
def test_nothing_listens_but_on_the_loopback(project: Path, run: Run, words: list[str]) -> None:
    run("dognet", "ITERS=10")
    process = subprocess.Popen(
        words, cwd=project, env=environment(project), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    seen: set[str] = set()
    processes: set[int] = set()
    try:
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            processes |= family(process.pid)
            seen |= listening(family(process.pid))
            if words == ["dognet", "ui"] and seen:
                break
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    assert len(processes) > (0 if words == ["dognet", "ui"] else 2)
    assert seen <= LOOPBACK
    assert bool(seen) == (words == ["dognet", "ui"])


def test_a_listener_on_every_address_would_be_seen() -> None:
    program = "import socket; one = socket.create_server(('0.0.0.0', 0)); input()"
    with subprocess.Popen(["python3", "-c", program], stdin=subprocess.PIPE) as process:
        wait_until(lambda: listening(family(process.pid)) == {"00000000"}, 10)
        process.communicate(b"\n")


def test_no_secret_is_printed_or_stored(project: Path, run: Run) -> None:
    (project / "conf" / "data" / "csv.yaml").unlink()
    uri = f"http://me:{SECRET}@127.0.0.1:9/mlflow"
    keys = {"MLFLOW_TRACKING_PASSWORD": SECRET, "MLFLOW_TRACKING_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}
    told, one_by_one = "", ("dognet", "--multirun", "hydra/launcher=basic")
    for words in (
        ("dognet", "ITERS=10", f"tracking_uri={uri}"),
        ("dognet", "ITERS=10", "stepSize=1e308", "dtype=float32", f"tracking_uri={uri}"),
        ("dognet", "--multirun", "seed=1,2", "ITERS=10", f"tracking_uri={uri}"),
        (*one_by_one, "seed=3,4", "ITERS=10", "stepSize=1e308", "dtype=float32", f"tracking_uri={uri}"),
        ("dognet", "ITERS=-1", f"tracking_uri={uri}"),
        ("dognet", f"tracking_uri={uri},"),
        ("dognet", "--multirun", "seed=1,2", f"tracking_uri={uri},none"),
        ("dognet", "sync", "--tracking-uri", uri),
        ("dognet", "sync", "--tracking-uri", f"postgresql://me:{SECRET}@127.0.0.1:9/mlflow"),
        ("dognet", "ui", "--tracking-uri", uri),
        ("dognet", "export", "adhoc", "--register", "one", "--tracking-uri", uri),
        ("dognet", "ui", "--tracking-uri", f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:9/mlflow"),
        (
            "dognet",
            "report",
        ),
        ("dvc", "repro"),
    ):
        answer = run(*words, check=False, MLFLOW_TRACKING_URI=uri, **keys)
        told += answer.stdout + answer.stderr
    assert "not recorded in MLflow (http://127.0.0.1:9/mlflow: no answer)" in told
    assert SECRET not in told
    assert "Traceback" not in told
    for words in ("ITERS=11",), ("--multirun", "hydra/launcher=basic", "seed=1,2", "ITERS=12"):
        answer = run("dognet", *words, f"tracking_uri=http://me:a {SECRET}@127.0.0.1:9")  # with a blank
        assert SECRET not in answer.stdout + answer.stderr
    run("dognet", "sync")  # now into mlflow.db
    assert len(list((project / "mlartifacts").rglob("run.json"))) >= 4
    kept = [path for path in project.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == []


@pytest.mark.parametrize(
    "study",
    [
        "../up",
        "/abs",
        "a/b",
        "..",
        ".",
        "",
        "nul\\0",
        "CON",
        "nul.txt",
        "a ",
        "a.",
        "-x",
        "~root",
        "é",
        "a\nb",
        "x" * 300,
    ],
)
def test_a_study_that_is_no_plain_name_is_refused(tmp_path: Path, study: str) -> None:
    run = run_in(make_project(tmp_path / "project"))
    before = sorted(path.name for path in (tmp_path / "project").iterdir())
    answer = run("dognet", "ITERS=1", f"study='{study}'", "tracking_uri=none", check=False)
    assert answer.returncode == 1, study
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert re.match("dognet: .*study", answer.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    assert sorted(path.name for path in (tmp_path / "project").iterdir()) == before


@pytest.mark.parametrize("sweep", [(), ("--multirun", "seed=1,2")])
def test_images_cannot_leave_their_folder(project: Path, run: Run, sweep: tuple[str, ...]) -> None:
    answer = run("dognet", *sweep, "ITERS=1", "tracking_uri=none", "data=../../conf/data/generated", check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("dognet: data must be the name of a file in conf/data/, ")
    assert answer.stderr.count("\n") == 1
    assert [path.name for path in project.parent.iterdir()] == ["project"]
    assert [path.name for path in (project / "data").iterdir()] == ["own"]


@pytest.mark.parametrize(
    "words",
    [
        ("+x._target_=os.system",),
        ("--multirun", "seed=1,2", "hydra.launcher._target_=os.system"),
        ("--multirun", "seed=1,2", "hydra.sweeper._target_=os.system"),
        ("+hydra.callbacks.x._target_=os.system",),
        ("--multirun", "hydra.sweeper.params={seed:{_target_:dognet.stages.fetch.git,_args_:[init,started]}}"),
        ("--multirun", "hydra/launcher=cluster", "hydra.launcher.address={_target_:os.system,command:x}"),
        ("--multirun", "seed=1,2", "hydra/launcher=null"),
        ("--multirun", "seed=1,2", "hydra/launcher=../../x"),
        ("data=../../x",),
        ("--multirun", "experiment=../../x"),
    ],
)
def test_words_of_hydra_start_nothing_and_end_in_a_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    project = make_project(tmp_path)
    answer = run_in(project)("dognet", *words, "ITERS=1", "tracking_uri=none", check=False)
    assert answer.returncode == 1, answer.stdout
    assert not (project / "started").exists()
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert answer.stderr.startswith("dognet: ")
