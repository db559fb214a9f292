"""Safe, strict YAML: no tags that construct objects, no duplicate keys, YAML 1.2 scalars."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mpsearch.core.errors import ConfigError

__all__ = ["dump_yaml", "parse_yaml", "read_yaml"]

_BOOL = "tag:yaml.org,2002:bool"
_FLOAT = "tag:yaml.org,2002:float"


class _StrictLoader(yaml.SafeLoader):
    """`SafeLoader` that refuses duplicate keys and reads `on` as a word and `1e-3` as a number, as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else repr(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' appears twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_StrictLoader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"^(?:[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, *, label: str) -> Any:
    """Parse YAML text into plain data.

    Args:
        text: YAML.
        label: name for messages, such as the file's path.

    Raises:
        ConfigError: it is not YAML, has a duplicate key, or has a tag that would construct an object.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = " ".join((error.problem or "not YAML").split())
        raise ConfigError(f"{label}: {place}{problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{label}: not YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or is not a mapping with text keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    content = parse_yaml(text, label=str(path))
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: must hold a mapping of keys to values, not {type(content).__name__}")
    return content


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Plain data as YAML text; keys keep their order."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)
