"""Branch and bound in a process of its own, because the HiGHS in some releases of scipy writes to standard output.

HiGHS 1.12, which scipy 1.17 contains, prints a debugging line whenever it repairs a solution, whatever its options say. Redirecting file
descriptor 1 would swallow what other threads write in the meantime. A child process has a descriptor 1 of its own. It takes about a second
to start, which is little beside the programs that enumeration cannot solve: those of hundreds of layers under several budgets.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

from mpsearch.allocate.highs import branch_and_bound
from mpsearch.allocate.knapsack import Core, Found, Knapsack

__all__ = ["branch_and_bound_in_child"]


def branch_and_bound_in_child(program: Knapsack, core: Core, width: float, time_limit: float) -> Found | None:
    """Run `highs.branch_and_bound` in a child process; same arguments, same result.

    Raises:
        TimeoutError: see `highs.branch_and_bound`.
        RuntimeError: the child process died.
    """
    child = subprocess.run(
        [sys.executable, "-P", "-m", __name__],  # -P: no module from the working directory
        input=pickle.dumps((program, core, width, time_limit)),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    if child.returncode:
        reason = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"the solver's process ended with status {child.returncode}: {reason or 'it said nothing'}")
    answer: Found | TimeoutError | None = pickle.loads(child.stdout)
    if isinstance(answer, TimeoutError):
        raise answer
    return answer


def _serve() -> None:
    """Read a program from standard input and write the answer to what was standard output; HiGHS gets the null device instead."""
    answers = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        answer: Found | TimeoutError | None = branch_and_bound(*pickle.load(sys.stdin.buffer))
    except TimeoutError as error:
        answer = error
    with os.fdopen(answers, "wb") as stream:
        pickle.dump(answer, stream)


if __name__ == "__main__":
    _serve()
