from __future__ import annotations

import pytest

from mpsearch.core.url import without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://me:s3cret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("mpsearch study --storage mysql://me:a-b:c@host/db --seed 3", "mpsearch study --storage mysql://me:***@host/db --seed 3"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////tmp/a@b:c.db", "sqlite:////tmp/a@b:c.db"),
        ("journal:///trials.log", "journal:///trials.log"),
    ],
)
def test_passwords_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert without_password(text) == shown
