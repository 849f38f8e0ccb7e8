"""The commands as they are installed: each is ready for Ctrl-C before it imports what takes its time."""

from __future__ import annotations

from dognet.interrupt import interruptible


@interruptible("dognet")
def dognet() -> None:
    """Start ``dognet``."""
    from dognet.cli import main

    main()


@interruptible("dognet-report")
def report() -> None:
    """Start ``dognet-report``."""
    from dognet.report import main

    main()


@interruptible("dognet-sync")
def sync() -> None:
    """Start ``dognet-sync``."""
    from dognet.sync import main

    main()


@interruptible("dognet-ui")
def ui() -> None:
    """Start ``dognet-ui``."""
    from dognet.ui import main

    main()
