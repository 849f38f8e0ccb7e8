"""Ctrl-C ends a command in one line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible(name: str) -> Iterator[None]:
    """End the command ``name`` with a line and exit code 130 where Ctrl-C interrupts it."""
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, in the background
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except BaseException:
        if not interrupted:  # in the middle of OmegaConf, an interrupt comes out as another error
            raise
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
