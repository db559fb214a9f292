"""What an effort changes."""

from __future__ import annotations

import pytest

from mpsearch.config.effort import EffortConfig, effort_changes
from mpsearch.core.errors import ConfigError


def test_the_changes_of_an_effort_are_its_sections_that_say_something() -> None:
    efforts = {"quick": EffortConfig(search={"trials": 3})}
    assert effort_changes(efforts, "quick", current="normal", label="s") == {"search": {"trials": 3}}


def test_a_study_without_efforts_has_the_one_it_is_at() -> None:
    assert effort_changes({}, "normal", current="normal", label="s") == {}
    with pytest.raises(ConfigError, match="s: there is no effort 'quick' in this study; it has normal"):
        effort_changes({}, "quick", current="normal", label="s")
