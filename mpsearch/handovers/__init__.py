"""Hand-over formats: a finished network for other quantization tools. One module each; see `mpsearch list handovers`.

They are no targets: no budget counts their files, and mpsearch does not read them back. Most hold float32 weights beside the formats, so
they are not small.

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
