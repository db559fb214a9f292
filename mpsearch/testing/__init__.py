"""Contract suites: what mpsearch expects of every plug-in, as test classes that other packages can run on their own.

```python
from mpsearch.testing import MethodContract

class TestMine(MethodContract):
    method = Mine()
```

Only this package imports pytest; `pip install mpsearch[test]` brings it.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(f"mpsearch.testing.{kind}_contract" for kind in ("cost", "logger", "method", "signal", "target"))
)  # before imports

from mpsearch.testing.cost_contract import CostContract
from mpsearch.testing.logger_contract import LoggerContract
from mpsearch.testing.method_contract import MethodContract
from mpsearch.testing.signal_contract import CombinedSignalContract, SignalContract
from mpsearch.testing.target_contract import TargetContract
from mpsearch.testing.variants import variants

__all__ = ["CombinedSignalContract", "CostContract", "LoggerContract", "MethodContract", "SignalContract", "TargetContract", "variants"]
