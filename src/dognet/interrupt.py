"""Ctrl-C ends a command in one line; a sweep's workers end with it, however it ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def end_with(parent: int) -> None:
    """End this process when its parent is no longer that one, as after `kill -9`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)  # the kernel tells a thread nothing of its parent's end
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def interruptible(name: str) -> Iterator[None]:
    """End the command ``name`` with a line and exit code 130 where Ctrl-C interrupts it."""
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    def swallowed(unraisable: sys.UnraisableHookArgs) -> None:
        ending = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}.get(unraisable.exc_type)
        if ending:  # in a callback, where Python goes on as if nothing was: once more
            threading.Timer(0.01, os.kill, (os.getpid(), ending)).start()
        else:
            sys.__unraisablehook__(unraisable)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, in the background
        signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook = swallowed
    try:
        yield
    except BaseException:
        if not interrupted:  # in the middle of OmegaConf, an interrupt comes out as another error
            raise
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
