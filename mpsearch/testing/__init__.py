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

pytest.register_assert_rewrite("mpsearch.testing.method_contract", "mpsearch.testing.signal_contract")  # before they are imported

from mpsearch.testing.method_contract import MethodContract  # noqa: E402
from mpsearch.testing.signal_contract import CombinedSignalContract, SignalContract  # noqa: E402
from mpsearch.testing.variants import variants  # noqa: E402

__all__ = ["CombinedSignalContract", "MethodContract", "SignalContract", "variants"]
