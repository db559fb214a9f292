"""Masking of passwords in URLs, for messages, reports and files."""

from __future__ import annotations

import re

__all__ = ["without_password"]

_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")


def without_password(text: str) -> str:
    """The text with the password of every URL in it masked: `postgresql://me:***@host/db`."""
    return _PASSWORD.sub(r"\1:***@", text)
