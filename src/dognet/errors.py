"""The errors that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """A mistake or a fault that one line explains: what, which value, where, the way out. A command prints that line."""
