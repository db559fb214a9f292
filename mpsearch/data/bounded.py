"""`Bound`: ends the reading of a source that may have no end."""

from __future__ import annotations

import time

from mpsearch.core.errors import DataError

__all__ = ["Bound"]

_MOST_SAMPLES = 1_000_000
_MOST_SECONDS = 25.0


class Bound:
    """Counts the samples of a source whose length nobody told, and refuses it where no end is in sight."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def check(self, samples: int) -> None:
        """Go on reading after so many samples.

        Raises:
            DataError: it took a million samples, or 25 seconds.
        """
        seconds = time.monotonic() - self._began
        if samples > _MOST_SAMPLES or seconds > _MOST_SECONDS:
            raise DataError(
                f"the data have no length and did not end within {samples:,} samples and {seconds:.0f} s; "
                "say how many samples make a pass: mpsearch.Stream(loader, samples=10_000)"
            )
