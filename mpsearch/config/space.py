"""Space files and mappings → `mpsearch.core.space.Space`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from mpsearch.config.shipped import find_yaml
from mpsearch.config.strict import Strict, validated
from mpsearch.config.yaml_file import read_yaml
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import LayerMenu, Space

__all__ = ["LayerMenuConfig", "SpaceConfig", "load_space", "read_space"]


def _read_with(parse: Callable[[object], NumberFormat | Choice]) -> BeforeValidator:
    def read(value: object) -> NumberFormat | Choice:
        if isinstance(value, NumberFormat | Choice):
            return value
        try:
            return parse(value)
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("format: ").removeprefix("choice: ")) from error  # pydantic knows the path of the key

    return BeforeValidator(read)


def _spelled(format: NumberFormat) -> int | str:
    """The spelling on a menu: uniform bits as a number."""
    if format.is_float:
        return "float"
    return format.bits if str(format) == str(format.bits) else str(format)


_FORMAT = r"^[a-z]?[1-8]?(s|k|g32|g64|g128)?z?$"
_spell = PlainSerializer(_spelled)


def _menu_schema(lowest: int) -> WithJsonSchema:
    return WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": lowest, "maximum": 8}, {"const": "float"}, {"type": "string", "pattern": _FORMAT}]}
    )


WeightFormat = Annotated[NumberFormat, _read_with(lambda value: Choice(NumberFormat.parse(value)).weight), _spell, _menu_schema(1)]
ActFormat = Annotated[NumberFormat, _read_with(lambda value: Choice(FLOAT, NumberFormat.parse(value)).activation), _spell, _menu_schema(2)]
PinnedChoice = Annotated[
    Choice,
    _read_with(Choice.parse),
    PlainSerializer(str),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^w[^a]+a[^a]+$"}, {"type": "integer", "minimum": 1, "maximum": 8}]}),
]
WeightMenu = Annotated[tuple[WeightFormat, ...], Field(min_length=1)]
ActMenu = Annotated[tuple[ActFormat, ...], Field(min_length=1)]


class LayerMenuConfig(Strict):
    """Menus of the layers that a glob matches; a missing menu stays that of the space."""

    weights: WeightMenu | None = None
    activations: ActMenu | None = None


class SpaceConfig(Strict):
    """The search space: menus of formats, and narrower menus, pins and ties by glob on layer names."""

    name: str = Field(default="inline", description="for reports", min_length=1)
    description: str = Field(default="", description="one sentence for people")
    weights: WeightMenu = Field(
        description="menu of weight formats: bits from 1 to 8, 'float', or a format by name such as t (ternary), h2, 4g64"
    )
    activations: ActMenu = Field(
        default=(FLOAT,),
        description="menu of activation formats: bits from 2 to 8, 'float', or p2 to p8 (powers of two)",
        json_schema_extra={"default": ["float"]},
    )
    layers: dict[str, LayerMenuConfig] = Field(default_factory=dict, description="glob → other menus; of several that match the last holds")
    pins: dict[str, PinnedChoice] = Field(default_factory=dict, description="glob → the one choice its layers take, such as w8a8")
    ties: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = Field(
        default=(), description="lists of globs whose layers share a choice"
    )

    def build(self) -> Space:
        """Build the space."""
        return Space(
            name=self.name,
            weights=self.weights,
            activations=self.activations,
            layers={glob: LayerMenu(weights=menu.weights, activations=menu.activations) for glob, menu in self.layers.items()},
            pins=dict(self.pins),
            ties=self.ties,
        )


def read_space(reference: str | Path | Mapping[str, Any]) -> SpaceConfig:
    """Validate a space.

    Args:
        reference: name in `spaces/`, path of a YAML file, or the mapping itself.

    Raises:
        ConfigError: the file cannot be read, or a key, type or value is wrong; the message has the key's path.
        UnknownNameError: there is no space of that name.
    """
    label, content = "space", reference
    if isinstance(reference, str | Path):
        path = reference if isinstance(reference, Path) else find_yaml("space", "spaces", reference)
        label, content = str(path), {"name": path.stem, **read_yaml(path)}
    return validated(SpaceConfig, content, label=label)


def load_space(reference: str | Path | Mapping[str, Any]) -> Space:
    """Load the space that a name in `spaces/`, a YAML file or a mapping describes.

    Args:
        reference: name, path or mapping.

    Raises:
        ConfigError: the file cannot be read, or a key, type or value is wrong; the message has the key's path.
        UnknownNameError: there is no space of that name.
    """
    return read_space(reference).build()
