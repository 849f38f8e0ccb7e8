"""How a command ends: with one line after Ctrl-C or an error. A sweep's workers end with their sweep."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dognet.errors import UserError, without_password
from dognet.project import check_source


def collect_rarely() -> None:
    """Run the garbage collector after 10,000 new objects instead of 700, and not when Python ends.

    MLflow is then imported in 0.7 s instead of 1.1, and a sweep, which has imported much, ends 0.3 s sooner.
    """

    def end() -> None:
        if "mlflow" not in sys.modules:  # the last collection closes its SQLite file; or its -wal would stay
            gc.freeze()

    gc.set_threshold(10_000)
    atexit.register(end)


def end_with(parent: int) -> None:
    """Make this process, a sweep's worker, end when ``parent`` is no longer its parent, as after `kill -9`."""
    collect_rarely()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)  # no signal reaches a thread when the parent ends
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def interruptible(name: str) -> Iterator[None]:
    """End the command ``name`` in one line: exit code 130 after Ctrl-C, 143 after SIGTERM, 1 after an error."""
    collect_rarely()
    ending = 0

    def end(number: int, _: object) -> None:
        nonlocal ending
        ending = number
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(143)

    def end_again(unraisable: sys.UnraisableHookArgs) -> None:
        if ending:  # it was raised in a callback, where Python ignores it: raise it again
            threading.Timer(0.1, os.kill, (os.getpid(), ending)).start()
        else:
            sys.__unraisablehook__(unraisable)

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # background jobs of a shell ignore it
        signal.signal(signal.SIGINT, end)
    sys.unraisablehook = end_again
    try:
        with one_line_errors(name):
            yield
    except BaseException:
        if ending == signal.SIGINT:  # inside of OmegaConf or MLflow an interrupt becomes another error
            print(f"{name}: interrupted", file=sys.stderr)
        if ending:
            timer = threading.Timer(5, os._exit, (128 + ending,))
            timer.daemon = True
            timer.start()  # an interrupt can leave a library's thread waiting, and Python waits for it
            sys.exit(128 + ending)
        raise


@contextmanager
def one_line_errors(name: str) -> Iterator[None]:
    """End the command ``name`` with one line and exit code 1 if the user or the machine is at fault."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # now: nobody could catch an error that it raises when Python ends
    except BrokenPipeError:
        print_no_more()
        sys.exit(0)
    except (UserError, OSError, MemoryError, FloatingPointError) as error:
        text = without_password(str(error)) or type(error).__name__  # Python's own MemoryError says nothing
        sys.exit("\n".join(f"{name}: {line}" for line in text.splitlines()))


def print_no_more() -> None:
    """Discard all further output, because its reader has ended, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Decorate the main function of a stage of `dvc repro`: check that the code is the source that DVC hashes."""
    with interruptible(name):
        check_source(Path())
        yield
