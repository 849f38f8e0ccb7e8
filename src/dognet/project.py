"""The project that a command works on: find its root folder, and make sure that the project's own code runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dognet.errors import UserError

PACKAGE = Path(__file__).resolve().parent


def project_root() -> Path:
    """Return the project's root: $DVC_ROOT, else the nearest folder upwards that has a dvc.yaml and a conf/."""
    if "DVC_ROOT" in os.environ:
        return Path(os.environ["DVC_ROOT"])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "conf" / "config.yaml").is_file():
            return folder
    raise UserError(f"{here}: no project here or above (no folder with dvc.yaml and conf/): cd into your clone")


def source_of(root: Path) -> Path:
    """Return the folder of this package below a project's root, where its source belongs."""
    return (root / "src" / PACKAGE.name).resolve()


def check_source(root: Path) -> None:
    """Raise UserError unless the running code is the source below ``root``, which DVC hashes and Git commits."""
    if source_of(root) != PACKAGE:
        raise UserError(f"the code that runs is not {source_of(root)}: set PYTHONPATH to {root.resolve() / 'src'}")


def run_own_source(root: Path) -> None:
    """Restart this command with the source below ``root`` if another copy was started.

    The command of an environment belongs to the checkout that was installed there. In a `git worktree`, a copy that
    DVC made, or beside an installed wheel it would run other code than the project's.
    """
    if source_of(root) == PACKAGE:
        return
    if not (source_of(root) / "cli.py").is_file():
        raise UserError(f"{source_of(root)}: no source there: cd into a clone of the project")
    if os.environ.get("PYTHONPATH", "").split(os.pathsep)[0] == str(root.resolve() / "src"):
        check_source(root)  # it was restarted already: say what is wrong instead of trying for ever
    environment = os.environ | {"PYTHONPATH": python_path(root)}
    os.execve(sys.executable, [sys.executable, "-P", "-m", f"{PACKAGE.name}.cli", *sys.argv[1:]], environment)


def python_path(root: Path) -> str:
    """Return the PYTHONPATH with which Python finds the source below ``root`` first."""
    return os.pathsep.join(filter(None, [str(root.resolve() / "src"), os.environ.get("PYTHONPATH")]))
