from __future__ import annotations

import pytest

from mpsearch.core.url import without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://me:s3cret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("mpsearch study --storage mysql://me:a-b:c@host/db --seed 3", "mpsearch study --storage mysql://me:***@host/db --seed 3"),
        ("mysql://me:p/a@ss@host/db?ssl=1", "mysql://me:***@host/db?ssl=1"),
        ("postgresql://host/db?user=me&password=s3cret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("cannot reach 'mysql://host/db?passwd=s3cret', sorry", "cannot reach 'mysql://host/db?passwd=***', sorry"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////tmp/a@b:c.db", "sqlite:////tmp/a@b:c.db"),
        ("journal:///trials.log", "journal:///trials.log"),
    ],
)
def test_passwords_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert without_password(text) == shown
