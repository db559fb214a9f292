from __future__ import annotations

import pytest

from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.data import DATA, DataSource, load_data


def test_every_source_says_what_it_is() -> None:
    assert {"digits", "imagefolder"} <= set(DATA)
    for name, source in DATA.items():
        assert issubclass(source, DataSource), name
        assert source.description
        assert "\n" not in source.description + source.paper
        source()  # every option has a default


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown data source 'mnist'; known: digits, imagefolder"):
        load_data("mnist")
    with pytest.raises(ConfigError, match=r"data.options.colour: 'digits' has no such option; it has validation, test, augment") as caught:
        load_data("digits", colour="blue")
    assert caught.value.path == "data.options.colour"
