"""Masking of passwords in URLs, for messages, reports and files."""

from __future__ import annotations

import re

__all__ = ["without_password"]

_PASSWORD = re.compile(r"(://[^/\s:@]*):\S*@")
"""Up to the last @: a password that was not quoted as URLs want may hold slashes and more of them."""
_QUERY = re.compile(r"([?&](?:\w*password|passwd)=)[^&\s'\"]*", re.IGNORECASE)


def without_password(text: str) -> str:
    """The text with the password of every URL in it masked: `postgresql://me:***@host/db`."""
    return _QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
