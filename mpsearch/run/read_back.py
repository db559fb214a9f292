"""Files of a run, which may be a stranger's: `read_json` refuses what is not sound; `read_back` takes it for nothing."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mpsearch.core.errors import MpsearchError, RunDirectoryError

__all__ = ["check_regular", "read_back", "read_bytes", "read_json"]

T = TypeVar("T")
_MOST_BYTES = 256 * 2**20
"""Of a file that is read at once; a summary of 20,000 trials of 200 layers has 150 MB."""
_LONGEST_REASON = 200


def check_regular(path: Path) -> Path:
    """The path of a regular file: no link, which may lead out of the run, and no pipe or device, which may have no end.

    Raises:
        FileNotFoundError: there is nothing.
        RunDirectoryError: it is something else.
    """
    kind = path.lstat().st_mode
    if not stat.S_ISREG(kind):
        raise RunDirectoryError(f"{path} is {'a link' if stat.S_ISLNK(kind) else 'no file'}; remove it, and get the run again")
    return path


def read_bytes(path: Path) -> bytes:
    """The content of a regular file of bounded size.

    Raises:
        FileNotFoundError: there is nothing.
        RunDirectoryError: it is no regular file, or larger than any that a run writes.
    """
    size = check_regular(path).stat().st_size
    if size > _MOST_BYTES:
        raise RunDirectoryError(f"{path} has {size:,} bytes, where at most {_MOST_BYTES:,} are read; remove it, and get the run again")
    return path.read_bytes()


def read_json(path: Path, load: Callable[[Any], T]) -> T:
    """The content of a JSON file.

    Args:
        path: the file.
        load: JSON data → content; its errors mean damage.

    Raises:
        FileNotFoundError: there is nothing.
        RunDirectoryError: the file was damaged or forged; the message says where.
    """
    text = read_bytes(path)
    try:
        return load(json.loads(text.decode("utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, MpsearchError) as error:
        reason = str(error) if isinstance(error, MpsearchError) else f"{type(error).__name__}: {error}"
        brief = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
        raise RunDirectoryError(f"{path} is damaged ({brief}); run the study again, which makes it anew") from error


def read_back(path: Path, load: Callable[[Any], T], say: Callable[[str], None] = lambda line: None) -> T | None:
    """The content of a JSON file that this program wrote; None if there is no such file, or if it is damaged.

    Args:
        path: the file.
        load: JSON data → content; its errors mean damage.
        say: gets a line about a damaged file.
    """
    try:
        return read_json(path, load)
    except FileNotFoundError:
        return None
    except (OSError, RunDirectoryError):
        say(f"{path.name} was damaged; what it held is computed again")
        return None
