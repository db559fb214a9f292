"""The true peak of the memory of a call: the kernel's own mark of the largest resident set, set back before the call.

Blocks of 1 MiB and more come from the kernel and go back to it when they are freed (`MALLOC_MMAP_THRESHOLD_`, which `__main__` sets for the
processes that measure memory), so that what is resident is what is held, not what the allocator keeps for later.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["ENVIRONMENT", "Peak", "resident"]

T = TypeVar("T")

ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}
"""Of the processes that measure memory."""
_FROM_KIB = 1024
_SET_BACK = "5"


def resident() -> int:
    """Bytes that are resident now, after what is unreachable was freed."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _status("VmRSS")


class Peak:
    """Measures how far calls rise above the memory of now.

    Attributes:
        start: resident bytes when it was made.
    """

    def __init__(self) -> None:
        self.start = resident()

    def of(self, function: Callable[[], T]) -> tuple[T, int]:
        """What the function returns, and the most bytes above `start` while it ran."""
        resident()
        Path("/proc/self/clear_refs").write_text(_SET_BACK)
        result = function()
        return result, _status("VmHWM") - self.start


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"this kernel does not tell {name}; the benchmark needs Linux")
    return int(found[1]) * _FROM_KIB
