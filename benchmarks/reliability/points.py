"""Every write of a study as a point by name, and what to do when one is reached.

The points are the moments before and after a file takes its place (`winner.json`, `winner.pt`, …), before a file is removed, and before a
transaction of the database is committed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

__all__ = ["at_writes", "killed_at", "named"]


def at_writes(reached: Callable[[int, str], None]) -> None:
    """Call `reached` with the number and the name of every point from now on, in this process."""
    import sqlalchemy

    count = -1

    def pass_by(name: str) -> None:
        nonlocal count
        count += 1
        reached(count, name)

    replace, unlink = Path.replace, Path.unlink

    def replaced(self: Path, target: Path) -> Path:
        pass_by(f"before {target.name}")
        done = replace(self, target)
        pass_by(f"after {target.name}")
        return done

    def unlinked(self: Path, missing_ok: bool = False) -> None:
        if self.exists():
            pass_by(f"before removing {self.name}")
        unlink(self, missing_ok=missing_ok)

    Path.replace, Path.unlink = replaced, unlinked  # type: ignore[method-assign,assignment]
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", lambda connection: pass_by("before a commit"))


def killed_at(point: int) -> Callable[[], None]:
    """Kill the process by SIGKILL at a point."""

    def reached(number: int, name: str) -> None:
        if number == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda: at_writes(reached)


def named(file: Path) -> Callable[[], None]:
    """Write the names of the points into a file as they are passed."""

    def reached(number: int, name: str) -> None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(name + "\n")

    return lambda: at_writes(reached)
