"""The contract of loggers, run over whatever the registry finds."""

from __future__ import annotations

import pytest

from mpsearch.loggers import LOGGERS
from mpsearch.testing import LoggerContract


class TestEveryLogger(LoggerContract):
    @pytest.fixture(autouse=True, params=LOGGERS.names())
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.logger = LOGGERS[request.param]


def test_there_are_the_four_that_the_guide_names() -> None:
    assert {"tensorboard", "wandb", "mlflow", "trackio"} <= set(LOGGERS.names())
