"""Loggers: where a run is followed while it goes on. One file a tracker; `mpsearch list loggers` shows them.

`--log NAME` on the command line and `callbacks=["NAME"]` in Python add one; `NAME:PLACE` names a project, experiment or folder. A tracker's
package is imported when it is asked for.

```python
@LOGGERS.register("mine")
class Mine(Logger): ...
```

Anything else that wants to be told of a run is a `Callback` of one's own, handed to `callbacks=`.
"""

from __future__ import annotations

from collections.abc import Iterable

from mpsearch.core.errors import ConfigError
from mpsearch.core.registry import Registry
from mpsearch.loggers.base import Begun, Callback, Logger

__all__ = ["LOGGERS", "Begun", "Callback", "Logger", "callbacks_of"]

LOGGERS: Registry[type[Logger]] = Registry("logger", "mpsearch.loggers")


def callbacks_of(asked: Iterable[Callback | str]) -> tuple[Callback, ...]:
    """The callbacks that somebody asks for.

    Args:
        asked: callbacks, and loggers by name, such as `wandb` or `wandb:PROJECT`.

    Raises:
        ConfigError: something that is no callback, a logger asked for twice, or one whose package is not installed.
        UnknownNameError: there is no logger of that name.
    """
    found: list[Callback] = []
    for each in asked:
        if isinstance(each, str):
            name, _, place = each.partition(":")
            each = LOGGERS[name](place)
        if not isinstance(each, Callback):
            raise ConfigError(
                f"callbacks: an instance of mpsearch.Callback or the name of a logger is needed, not {each!r:.80}", path="callbacks"
            )
        if each.name and each.name in (other.name for other in found):
            raise ConfigError(f"callbacks: '{each.name}' is asked for twice; once is enough", path="callbacks")
        found.append(each)
    return tuple(found)
