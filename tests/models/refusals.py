"""The line that a wrong request for a model gets."""

from __future__ import annotations

from typing import Any

import pytest

from mpsearch.core.errors import ModelError
from mpsearch.models import build_model


def refused(reference: str, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        build_model(reference, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
