"""Hand-over formats: a finished network for other quantization tools. One module each; see `mpsearch list handovers`.

They are no targets: their files hold float32 weights beside the formats, or no weights at all, so no budget counts them, and mpsearch does
not read them back.

```python
@HANDOVERS.register("mine")
class Mine(Handover): ...
```
"""

from __future__ import annotations

from mpsearch.core.registry import Registry
from mpsearch.handovers.base import Handover

__all__ = ["HANDOVERS", "Handover"]

HANDOVERS: Registry[type[Handover]] = Registry("hand-over format", "mpsearch.handovers")
