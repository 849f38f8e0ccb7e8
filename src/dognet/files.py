"""Files that are written whole or not at all, and compared by their content."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it into place, so that nobody ever reads half a file."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content if isinstance(content, bytes) else content.encode())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_once(path: Path) -> str:
    """Return the file's sha256, computed once in this process while the file stays the same."""
    return sha256_at(path, stamp(path))


@functools.lru_cache(maxsize=16)
def sha256_at(path: Path, stamp: tuple[int, int, int]) -> str:
    """Return the file's sha256 from a cache by path and stamp."""
    return sha256(path)


def stamp(path: Path) -> tuple[int, int, int]:
    """Return a file's size and times, which change with its content; ctime changes even if mtime is set back."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
