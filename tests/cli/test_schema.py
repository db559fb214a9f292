from __future__ import annotations

import json

import pytest

from mpsearch.cli import main
from mpsearch.config.schema import SCHEMAS, schema_text


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schema_of_each_kind_is_printed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    told = capsys.readouterr().out
    assert told == schema_text(kind)
    assert json.loads(told)["properties"]
