"""How an input was taken: read, refused in one line, or a defect; counted, timed, and the first defects kept."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mpsearch.core.errors import MpsearchError

__all__ = ["PATIENCE", "Verdicts", "fuzz_main", "limited_memory", "write_results"]

PATIENCE = 2.0
"""Seconds of the processor after which an input hangs; other work on the machine does not count."""
_KEPT = 20


class _Hang(BaseException):
    """Raised when `PATIENCE` is over; no `except Exception` keeps it."""


class Verdicts:
    """Counts of what became of the inputs, and the first defects.

    `read` and `refused` (an error of ours, in one line) are right; `foreign` (any other exception), `lines` (a message of several lines),
    `hang` (more than `PATIENCE` seconds) and `memory` are defects.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.defects: list[dict[str, str]] = []

    def judge(self, action: Callable[[], object], describe: Callable[[], str]) -> str:
        """Run `action` and count its outcome; `describe` names the input, if it is a defect."""
        started = time.process_time()
        error: BaseException | None = None
        try:
            with _patience():
                action()
            outcome = "read"
        except MpsearchError as refused:
            outcome, error = ("lines" if "\n" in str(refused).strip() else "refused"), refused
        except _Hang as hang:
            outcome, error = "hang", hang
        except MemoryError as full:
            outcome, error = "memory", full
        except Exception as foreign:
            outcome, error = "foreign", foreign
        self.slowest = max(self.slowest, time.process_time() - started)
        self.counts[outcome] += 1
        if outcome not in ("read", "refused") and len(self.defects) < _KEPT:
            where = "".join(traceback.format_exception(error)[-3:]) if error else ""
            self.defects.append({"outcome": outcome, "input": describe(), "error": where})
        return outcome

    def to_dict(self) -> dict[str, Any]:
        """Counts and the slowest input's seconds, for a results file."""
        return {"inputs": self.counts.total(), **dict(sorted(self.counts.items())), "slowest_seconds": round(self.slowest, 2)}

    def report(self, what: str, out: Path | None, **settings: Any) -> int:
        """Print the counts and the defects, write the results file; returns the exit code."""
        return write_results({"what": what, **settings, **self.to_dict(), "differ": self.defects}, out)


def fuzz_main(doc: str | None, what: str, fuzz: Callable[[int, int], Verdicts]) -> int:
    """The command line of a fuzzer.

    Args:
        doc: docstring of its module.
        what: it mutates.
        fuzz: (mutations, seed) → verdicts.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    return fuzz(asked.mutations, asked.seed).report(what, asked.out, seed=asked.seed)


def write_results(found: Mapping[str, Any], out: Path | None) -> int:
    """Print what was found, write it to a file; returns the exit code.

    Args:
        found: counts by name, and the list of defects as `differ`.
        out: JSON file; None writes none.
    """
    print(", ".join(f"{key} {value}" for key, value in found.items() if key != "differ"))
    for defect in found["differ"]:
        print("\n".join(f"{key}: {value}" for key, value in defect.items()) + "\n")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(dict(found), indent=1) + "\n", encoding="utf-8")
    return 1 if found["differ"] else 0


@contextmanager
def _patience() -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> None:
        raise _Hang(f"no answer within {PATIENCE} s")

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def limited_memory(more: int) -> Iterator[None]:
    """Let the process take at most `more` bytes beyond what it has; an allocation beyond that is a `MemoryError`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
