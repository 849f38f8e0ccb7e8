"""The errors that a user can fix; no message shows a password."""

from __future__ import annotations

import re


class UserError(Exception):
    """An error that a user can fix. Its message says in one line what is wrong, where, and the way out."""


class ImagesError(UserError):
    """Images that can't be used. The message names the file, row and column, the fault and the way out."""


def without_password(text: str) -> str:
    """Return the text without the users, passwords and tokens of the URIs in it."""
    text = re.sub(r"(:/+)(?:[^/\s:]*:\S*|[^/\s]*)@", r"\1", text)  # a database's password may have a / in it
    return re.sub(r"(?<!\.)((?:password|passwd|pwd|token|api_key)(?:=|%3D))[^&;\s]+", r"\1…", text, flags=re.IGNORECASE)
