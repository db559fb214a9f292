"""What a study tells those who join, and which study they mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.study.published import Published, find_study, publish, published
from mpsearch.study.storage import open_study

SHARED = Published(study="name: s\n", identity={"data": "abc"}, lease=60.0, artifacts="/shared", files={"prepared.json": "0" * 64})


def test_whoever_joins_reads_what_was_published(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    study = open_study(url, "mine")
    assert published(study) is None
    publish(study, SHARED)
    assert published(find_study(url, None)) == SHARED
    publish(study, replace(SHARED, lease=5.0))
    assert published(find_study(url, "mine")) == replace(SHARED, lease=5.0)


def test_a_study_that_is_not_there_is_one_line_with_those_that_are(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    with pytest.raises(ConfigError, match="name one with --study; there are: none; begin one with"):
        find_study(url, None)
    for name in ("a", "b"):
        open_study(url, name)
    with pytest.raises(ConfigError, match="name one with --study; there are: a, b"):
        find_study(url, None)
    with pytest.raises(ConfigError, match="there is no study 'c'; there are: a, b"):
        find_study(url, "c")


@pytest.mark.parametrize("wrong", [7, {}, {"study": "x", "identity": 3, "lease": 1.0, "artifacts": "", "files": {}}])
def test_a_damaged_one_is_one_line(wrong: object, tmp_path: Path) -> None:
    study = open_study(f"sqlite:///{tmp_path}/trials.db", "mine")
    study.set_user_attr("shared", wrong)
    with pytest.raises(ConfigError, match="the study 'mine' cannot be joined, its attribute 'shared' was damaged") as caught:
        published(study)
    assert "\n" not in str(caught.value)
