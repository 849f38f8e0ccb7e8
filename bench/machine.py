"""What the benchmarks share: a process of its own on one core, turns, the machine's name, and the tables of docs/."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CORE = max(os.sched_getaffinity(0))  # the last one: number 0 serves most interrupts
Case = TypeVar("Case", bound=Hashable)
Result = TypeVar("Result")

THREADS = [f"{library}_NUM_THREADS" for library in ("OPENBLAS", "OMP", "MKL", "POLARS_MAX")]
TO_AVX2 = {  # each library's own switch; without them it takes what the processor has
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}


def quick(description: str | None) -> bool:
    """Read the command line of a benchmark and return whether it is only to be tried."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a short try: does it work? Writes nothing")
    return bool(parser.parse_args().quick)


def cpu() -> dict[str, str]:
    """Return what the kernel says of the first processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def modes() -> dict[str, dict[str, str]]:
    """Return the environment of each instruction set to measure: AVX2, and AVX-512 where the processor has it."""
    if "avx512f" not in cpu()["flags"].split():
        return {"AVX2": {}}
    return {"AVX2": TO_AVX2, "AVX-512": {}}


def alone(
    function: Callable[..., Result], *arguments: Any, mode: Mapping[str, str] | None = None, threads: int = 1
) -> Result:
    """Return what a function returns in a new Python process: one thread on one core, or several on all cores."""
    plain = {name: value for name, value in os.environ.items() if name not in TO_AVX2}
    variables = plain | dict.fromkeys(THREADS, str(threads)) | dict(mode or {})
    with patch.dict(os.environ, variables, clear=True), get_context("spawn").Pool(1, settle, (threads,)) as pool:
        return pool.apply(function, arguments)


def settle(threads: int) -> None:
    """Prepare the new process."""
    warnings.simplefilter("ignore")
    if threads == 1:
        os.sched_setaffinity(0, {CORE})


def take_turns(turns: int, cases: Mapping[Case, Callable[[], dict[str, Any]]]) -> dict[Case, pd.DataFrame]:
    """Measure each case in every turn; return what each gave, a row a turn and a column a name."""
    results: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    for turn in range(turns):
        for case, measure in cases.items():
            print(f"turn {turn + 1} of {turns}: {case}", file=sys.stderr)
            results[case].append(measure())
    return {case: pd.DataFrame(rows) for case, rows in results.items()}


def memory(which: str) -> int:
    """Return this process's memory in bytes: VmRSS now, VmHWM at its peak (ru_maxrss may be the parent's)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def described(*packages: str) -> str:
    """Name this machine and the packages' versions, for the line above a table."""
    from importlib.metadata import version

    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    about = cpu()
    family = f"family {about['cpu family']} model {about['model']}"
    return (
        f"{about['model name']} ({family}), {os.cpu_count()} cores, {about['cache size']} cache; "
        f"{platform.system()}, Python {platform.python_version()}, {versions}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table of names in the first column and numbers in the others."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def publish(name: str, text: str, *, quick: bool) -> None:
    """Print the text and, unless ``quick``, put it between the two marks of that name in docs/performance.md."""
    print(text)
    if quick:
        return
    page, marks = DOCS / "performance.md", f"(<!-- {name} -->\n).*(\n<!-- end of {name} -->)"
    content = re.sub(marks, lambda found: found[1] + text + found[2], page.read_text("utf-8"), flags=re.DOTALL)
    page.write_text(content, "utf-8")
