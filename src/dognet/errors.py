"""The errors that a user can fix."""

from __future__ import annotations


class UserError(Exception):
    """A fault that a command explains in one line: what, which value, where, the way out."""


class ImagesError(UserError):
    """Images that can't be used: the file, row and column, what is wrong, and the way out."""
