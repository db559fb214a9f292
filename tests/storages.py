"""Every kind of storage that a study can have, for tests that must hold on all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

SERVERS = ("postgresql", "mysql", "grpc")
EVERY = ("sqlite", "journal", *SERVERS)


def url_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """URL of a storage that holds no study."""
    return str(request.getfixturevalue(kind)) if kind in SERVERS else f"{kind}:///{folder}/trials"
