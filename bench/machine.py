"""What the benchmarks share: a process of its own on one core, the machine's name, and the tables of docs/."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CORE = max(os.sched_getaffinity(0))  # the last one: number 0 serves most interrupts

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "POLARS_MAX")}
TO_AVX2 = {  # each library's own switch; without them it takes what the processor has
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}


def cpu() -> dict[str, str]:
    """Return what the kernel says of the first processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def modes() -> dict[str, dict[str, str]]:
    """Return the environment of each instruction set to measure: AVX2, and AVX-512 where the processor has it."""
    if "avx512f" not in cpu()["flags"].split():
        return {"AVX2": {}}
    return {"AVX2": TO_AVX2, "AVX-512": {}}


def alone(arguments: list[str], mode: dict[str, str], threads: int = 1) -> Any:
    """Run a Python script in a process of its own, with one thread on one core; return the JSON of its last line."""
    plain = {name: value for name, value in os.environ.items() if name not in TO_AVX2}
    done = subprocess.run(
        [*(["taskset", "-c", str(CORE)] if threads == 1 else []), sys.executable, "-W", "ignore", *arguments],
        env=plain | dict.fromkeys(ONE_THREAD, str(threads)) | mode,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


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


def publish(name: str, text: str, *, quick: bool = False) -> None:
    """Print the text and, unless ``quick``, put it between the two marks of that name in docs/performance.md."""
    print(text)
    if quick:
        return
    page = DOCS / "performance.md"
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
