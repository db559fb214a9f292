"""Costs: what an allocation takes, as one `Table` or the `Peak` of several. One file per cost; see `mpsearch list costs`.

A new cost is a new file in this folder. It says how budgets on it are spelled and how its amounts are worded; nothing else has to know it:

```python
def weights(inputs: CostInputs) -> Table: ...


COSTS.register("storage")(
    Cost(
        name="storage",
        unit="bit",
        description="bits of all weights",
        units={"Kbit": "1e3", "Mbit": "1e6"},
        example="80Kbit",
        compute=weights,
        worded="{:,.0f} bit".format,
    )
)
```

| cost | what it limits | budgets |
|---|---|---|
| `size` | bytes of the file on disk | `2MB`, `70KB`, `1.5MiB` |
| `bits` | mean weight bits | `3.2bit` |
| `bops` | bit operations of one sample | `1.2GBOPs` |
| `latency` | seconds of one sample on a device | `5ms` |
| `activation-memory` | peak bytes of live activations of one sample | `act:64KB` |
"""

from __future__ import annotations

from collections.abc import Iterable

from mpsearch.core.peak import CostTable
from mpsearch.costs.base import COSTS, Cost, CostInputs

__all__ = ["COSTS", "Cost", "CostInputs", "compute_costs", "reported_costs"]


def compute_costs(names: Iterable[str], inputs: CostInputs) -> dict[str, CostTable]:
    """Tables of several costs, in the order of the names.

    Args:
        names: registered costs.
        inputs: what they are computed from.

    Raises:
        UnknownNameError: a name nobody registered.
        ConfigError: the inputs lack what a cost needs, such as a hardware profile.
    """
    return {name: COSTS[name].compute(inputs) for name in names}


def reported_costs(inputs: CostInputs) -> list[str]:
    """Names of the costs that are reported whether or not a budget limits them, sorted."""
    return [name for name, cost in COSTS.items() if cost.reported(inputs)]
