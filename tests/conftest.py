"""What several tests need: the lecture's files where they are, and a project of their own to run commands in."""

from __future__ import annotations

import ctypes
import fcntl
import functools
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from dognet.conf import compose
from dognet.settings import Settings
from dognet.stages.once import run_once
from dognet.tracking.store import QUIET, Store

os.environ.update(QUIET)  # before any test imports MLflow
slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("busy machine", deadline=None, suppress_health_check=slow)
hypothesis.settings.load_profile("busy machine")

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # ignored where the tests run in the background, and in all they start

REPOSITORY = Path(__file__).resolve().parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of <linux/sched.h>


STARTS_COMMANDS = {"clone", "environment", "run_in", "site", "subprocess"}  # fixtures and functions that a test uses
LONG = ("sweep", "tracking_sync", "pipeline", "fetch", "report", "export", "tracking", "cli", "settings", "secrets")
STUDIES = {"batches", "batches_digits", "guessing", "iters", "pipeline", "plane", "seed", "step", "width"}  # our own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start commands; the files that take longest come first, so that no worker ends alone."""
    first = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: first.get(item.path.stem, len(LONG)))
    for item in items:
        function = getattr(item, "function", None)
        used = {*getattr(item, "fixturenames", ()), *(function.__code__.co_names if function else ())}
        if used & STARTS_COMMANDS:
            item.add_marker(pytest.mark.integration)
            if item.get_closest_marker("soak"):  # kills at random
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def lecture() -> Path:
    """The folder of the course's CSVs and expected_runs.json, which the project may not contain."""
    folder = os.environ.get("DOGNET_LECTURE_DATA")
    if not folder:
        pytest.skip("DOGNET_LECTURE_DATA does not name the folder of the course's CSVs")
    return Path(folder).resolve()


def environment(project: Path) -> dict[str, str]:
    """The environment of a shell in which ``project`` is installed."""
    others = ("DVC_", "MLFLOW_", "HYDRA_", "MAKE", "PYTHON")
    values = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    values["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{values['PATH']}"
    values["PYTHONPATH"] = str(project / "src")
    values["PYTHONDONTWRITEBYTECODE"] = "1"  # two edits in a second would look the same to it
    values["GIT_CONFIG_COUNT"] = "2"
    values |= {"GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Dog"}
    values |= {"GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "dog@example.com"}
    return values


@functools.cache
def forks() -> Path:
    """The folder of the commands that start as forks; the process that they come from has its socket beside it.

    All workers of a test run share it. It ends when the test run does.
    """
    of_run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir(), f"forks-{of_run}")
    with FileLock(f"{folder}.lock"):
        if not (folder / "socket").exists():
            start_forks(folder, os.getppid() if "PYTEST_XDIST_TESTRUNUID" in os.environ else os.getpid())
    return folder


def start_forks(folder: Path, test_run: int) -> None:
    """Start the process that forks, which ends with the test run."""
    (folder / "bin").mkdir(parents=True)
    program = Path(__file__).with_name("forked.py").read_text()
    for name in ("dognet", "dvc", "python"):
        (folder / "bin" / name).write_text(f"#!{sys.executable} -ISE\n{program}")
        (folder / "bin" / name).chmod(0o755)
    subprocess.run([sys.executable, "-m", "compileall", "-q", REPOSITORY / "src"])  # once, not in each
    words = [sys.executable, "-P", Path(__file__).with_name("forked.py"), "serve", folder, str(test_run)]
    where = {**os.environ, **QUIET, "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(["setsid", "--fork", *words], cwd=folder, env=where, stdin=subprocess.DEVNULL, check=True)
    wait_until((folder / "socket").exists)


def with_forks(shell: dict[str, str]) -> dict[str, str]:
    """The environment of a shell in which dognet and DVC start as forks of a process that has their libraries."""
    ours = {"FORKED_SOCKET": f"{forks()}/socket", "FORKED_PYTHON": sys.executable}
    return {**shell, **ours, "PATH": f"{forks()}/bin{os.pathsep}{shell['PATH']}"}


def run_in(project: Path) -> Run:
    """Return a function that runs a command in ``project`` and hands back its output.

    The commands start as forks, unless PYTHONPATH says where to find other libraries.
    """

    def run(*words: str, check: bool = True, cwd: Path = project, **more: str) -> subprocess.CompletedProcess[str]:
        shell = environment(project) | more
        if "PYTHONPATH" not in more:
            shell = with_forks(shell)
        answer = subprocess.run(words, cwd=cwd, env=shell, capture_output=True, text=True, timeout=300)
        if check and answer.returncode:
            raise AssertionError(f"{words} ended with {answer.returncode}:\n{answer.stdout}\n{answer.stderr}")
        return answer

    return run


def is_ours(name: str) -> bool:
    """Whether a file belongs to the project as it comes, and is not a study or an image that its user added."""
    match Path(name).parts:
        case "experiments", study, _, *_:
            return study in STUDIES
        case "data", _, *_, file:
            return file == "README.md"
        case parts:
            return bool(parts)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the repository, in which nothing has run: with uncommitted work, without the user's own studies."""
    folder = tmp_path_factory.mktemp("a clone") / "dögnet"  # a space and an umlaut on the way there
    folder.mkdir()
    run = run_in(folder)
    listing = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY).stdout
    for name in filter(is_ours, listing.split("\0")):
        if (REPOSITORY / name).is_file():  # not one that is deleted, and not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    run(sys.executable, "-m", "compileall", "-q", "src")  # as after a first run
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "config", "user.name", "Dog")  # DVC reads it here, not from the environment
    run("git", "config", "user.email", "dog@example.com")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message=clone")
    run("git", "gc", "--quiet")  # one file to copy for each test instead of hundreds
    return folder


@pytest.fixture(scope="session")
def few_images(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a twentieth of the images, for the tests that don't look at what is learnt."""
    folder = Path(shutil.copytree(clone, tmp_path_factory.mktemp("few images") / clone.name, symlinks=True))
    for usual, few in (("train_rows: 4000", "train_rows: 200"), ("1000", "50")):
        edit(folder / "conf" / "data" / "generated.yaml", usual, few)
    run_in(folder)("git", "commit", "--quiet", "--all", "--message=few images")
    return folder


@pytest.fixture
def project(few_images: Path, empty_store: Path, tmp_path: Path) -> Path:
    """A project of the test's own, with a store that has no runs yet."""
    root = Path(shutil.copytree(few_images, tmp_path / "project", symlinks=True))
    shutil.copy(empty_store, root / "mlflow.db")
    return root


@pytest.fixture
def run(project: Path) -> Run:
    """Runs a command in ``project``."""
    return run_in(project)


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must stand in the file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def make_project(folder: Path, source: Path = REPOSITORY) -> Path:
    """Make a project without Git and studies: conf/, dvc.yaml, and the source by a link."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("conf", "dvc.yaml"):
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, folder / name)
    (folder / "src").symlink_to(source / "src")
    return folder


@pytest.fixture(scope="session")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the study ``grid`` of 12 finished runs, none of them in MLflow."""
    root = make_project(tmp_path_factory.mktemp("twelve") / "project")
    for hiddenNodes, stepSize, seed in itertools.product((2, 4), (0.3, 1.0), (1, 2, 3)):
        run_once(small(hiddenNodes=hiddenNodes, stepSize=stepSize, seed=seed, study="grid"), root)
    return root


def small(**settings: object) -> Settings:
    """The settings in conf/ with few iterations and images, one thread, and these."""
    data = usual().data.model_copy(update={"train_rows": 200, "test_rows": 50})
    return usual().model_copy(update={"ITERS": 150, "threads": 1, "data": data, **settings})


@functools.cache
def usual() -> Settings:
    """The settings in conf/."""
    return compose(REPOSITORY)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mlflow.db without runs; making one takes seconds, copying it none."""
    root = tmp_path_factory.mktemp("empty store")
    Store(f"sqlite:///{root}/mlflow.db", root)
    return root / "mlflow.db"


@pytest.fixture
def grid(twelve: Path, empty_store: Path, tmp_path: Path) -> Path:
    """A project of the test's own: the 12 runs, and a store that has none of them yet."""
    root = Path(shutil.copytree(twelve, tmp_path / "grid", symlinks=True))
    shutil.copy(empty_store, root / "mlflow.db")
    return root


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as it holds; AssertionError if it doesn't in time."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.01)


@contextmanager
def loopback_alone() -> Iterator[bool]:
    """Meanwhile this thread, and what it starts, has a network with the loopback alone; False without the right to."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        if libc.unshare(NEW_NETWORK):
            yield False
            return
        try:
            with socket.socket() as probe:  # bring the loopback up: SIOCSIFFLAGS with IFF_UP
                fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", 1))
            yield True
        finally:
            assert libc.setns(before.fileno(), NEW_NETWORK) == 0
