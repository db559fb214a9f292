"""Safe, strict YAML: JSON data alone, no duplicate keys, YAML 1.2 scalars, and bounds on length, depth and aliases."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mpsearch.core.errors import ConfigError

__all__ = ["dump_yaml", "parse_yaml", "read_yaml"]

_TAG = "tag:yaml.org,2002:"
_BOOL, _INT, _FLOAT = (f"{_TAG}{kind}" for kind in ("bool", "int", "float"))
_REPLACED = (_BOOL, _INT, _FLOAT, f"{_TAG}timestamp", f"{_TAG}value")
_KNOWN_TAGS = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
_LENGTH = 1_000_000
_DEPTH = 50
_NODES = 100_000
"""Values of a file, where an alias counts as all that it stands for: a few lines of aliases of aliases stand for billions."""
_NUMBER_LENGTH = 100


class _StrictLoader(yaml.SafeLoader):
    """`SafeLoader` of JSON data without duplicate keys, of bounded size, which reads `on` as a word and `1e-3` as a number (YAML 1.2)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._open: list[int] = []
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark, before, depth = self.peek_event().start_mark, self._nodes, len(self._open)  # type: ignore[no-untyped-call]
        if depth > _DEPTH:
            raise yaml.constructor.ConstructorError(None, None, f"nested more than {_DEPTH} deep", mark)
        alias = self.check_event(yaml.AliasEvent)
        self._open.append(0)
        node = super().compose_node(parent, index)
        self._open.pop()
        if alias and id(node) not in self._sizes:
            raise yaml.constructor.ConstructorError(None, None, "an alias stands for something that holds it", mark)
        self._nodes += self._sizes[id(node)] if alias else 1
        self._sizes[id(node)] = self._nodes - before
        if self._nodes > _NODES:
            raise yaml.constructor.ConstructorError(None, None, f"more than {_NODES:,} values, aliases written out", mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode):
            if node.tag in (_INT, _FLOAT) and len(node.value) > _NUMBER_LENGTH:
                raise yaml.constructor.ConstructorError(None, None, f"a number of {len(node.value):,} characters", node.start_mark)
            if any("\ud800" <= character <= "\udfff" for character in node.value):
                raise yaml.constructor.ConstructorError(None, None, "half a surrogate pair is no character", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError, TypeError) as error:  # a tag that does not fit, such as `!!int ''`
            kind = node.tag.removeprefix(_TAG)
            raise yaml.constructor.ConstructorError(None, None, f"this cannot be read as {kind}", node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else repr(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' appears twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_StrictLoader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_StrictLoader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"^(?:[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))$"),
    list("-+.0123456789"),
)
_StrictLoader.yaml_constructors = {
    tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag is None or tag in _KNOWN_TAGS
}


def parse_yaml(text: str, *, label: str) -> Any:
    """Parse YAML text into JSON data.

    Args:
        text: YAML.
        label: name for messages, such as the file's path.

    Raises:
        ConfigError: it is not YAML, has a duplicate key or a tag other than those of JSON data, or is longer, deeper or (aliases written
            out) larger than any file of ours.
    """
    if len(text) > _LENGTH:
        raise ConfigError(f"{label}: {len(text):,} characters, where at most {_LENGTH:,} are read")
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
        if path.exists() and not path.is_file():  # a pipe would wait for ever
            raise ConfigError(f"{path}: cannot be read: no regular file")
        if path.stat().st_size > 4 * _LENGTH:  # bytes of the longest character
            raise ConfigError(f"{path}: {path.stat().st_size:,} B, where at most {_LENGTH:,} characters are read")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    content = parse_yaml(text, label=str(path))
    if isinstance(content, dict):  # the layers of a Sequential are called 0, 1, 2
        content = {str(key) if type(key) is int else key: value for key, value in content.items()}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: must hold a mapping of keys to values, not {type(content).__name__}")
    return content


def dump_yaml(content: Mapping[str, Any], *, compact: bool = False) -> str:
    """JSON data as YAML text; keys keep their order; `compact`: lists and mappings of plain values in one line each."""
    style = None if compact else False
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120, default_flow_style=style)
