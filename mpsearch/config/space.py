"""`spaces/*.yaml` → `core.space.Space`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, WithJsonSchema

from mpsearch.config.shipped import find_yaml
from mpsearch.config.strict import Strict, config_error
from mpsearch.config.yaml_file import read_yaml
from mpsearch.core.choice import FLOAT_BITS, Choice, parse_bits
from mpsearch.core.errors import ConfigError
from mpsearch.core.space import LayerMenu, Space

__all__ = ["LayerMenuConfig", "SpaceConfig", "load_space", "read_space"]


def _bits(lowest: int) -> BeforeValidator:
    def read(value: object) -> int:
        try:
            return parse_bits(value, lowest=lowest)
        except ConfigError as error:
            # pydantic knows the path of the key
            raise ValueError(str(error).removeprefix("bits: ")) from error

    return BeforeValidator(read)


def _choice(value: object) -> str:
    try:
        return str(value if isinstance(value, Choice) else Choice.parse(value))
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("choice: ")) from error


def _bits_schema(lowest: int) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "integer", "minimum": lowest, "maximum": 8}, {"const": "float"}]})


_spell_bits = PlainSerializer(lambda bits: "float" if bits == FLOAT_BITS else bits)
WeightBits = Annotated[int, _bits(1), _spell_bits, _bits_schema(1)]
ActBits = Annotated[int, _bits(2), _spell_bits, _bits_schema(2)]
ChoiceText = Annotated[
    str,
    BeforeValidator(_choice),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^w([1-8]|f)a([2-8]|f)$"}, {"type": "integer", "minimum": 1, "maximum": 8}]}),
]
WeightMenu = Annotated[tuple[WeightBits, ...], Field(min_length=1)]
ActMenu = Annotated[tuple[ActBits, ...], Field(min_length=1)]


class LayerMenuConfig(Strict):
    """Menus of the layers one glob matches; a menu left out stays the space's own."""

    weights: WeightMenu | None = None
    activations: ActMenu | None = None


class SpaceConfig(Strict):
    """What may be chosen: menus of bits, exceptions, pins and ties, by glob on layer names."""

    name: str = Field(default="inline", description="for reports", min_length=1)
    description: str = Field(default="", description="one sentence for people")
    weights: WeightMenu = Field(description="menu of weight bits, 1 to 8 or 'float'")
    activations: ActMenu = Field(default=(FLOAT_BITS,), description="menu of activation bits, 2 to 8 or 'float'")
    layers: dict[str, LayerMenuConfig] = Field(default_factory=dict, description="glob → other menus; of several that match the last holds")
    pins: dict[str, ChoiceText] = Field(default_factory=dict, description="glob → the one choice its layers take, such as w8a8")
    ties: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = Field(
        default=(), description="lists of globs whose layers share a choice"
    )

    def build(self) -> Space:
        """The space itself."""
        return Space(
            name=self.name,
            weights=self.weights,
            activations=self.activations,
            layers={glob: LayerMenu(weights=menu.weights, activations=menu.activations) for glob, menu in self.layers.items()},
            pins={glob: Choice.parse(text) for glob, text in self.pins.items()},
            ties=self.ties,
        )


def read_space(reference: str | Path | Mapping[str, Any]) -> SpaceConfig:
    """Validate a space.

    Args:
        reference: name in `spaces/`, path of a YAML file, or the mapping itself.

    Raises:
        ConfigError: unreadable, a wrong key, type or value, with the path of the key.
        UnknownNameError: no space of that name.
    """
    label, content = "space", reference
    if isinstance(reference, str | Path):
        path = reference if isinstance(reference, Path) else find_yaml("space", "spaces", reference)
        label, content = str(path), {"name": path.stem, **read_yaml(path)}
    try:
        return SpaceConfig.model_validate(content)
    except ValidationError as error:
        raise config_error(error, SpaceConfig, label=label) from error


def load_space(reference: str | Path | Mapping[str, Any]) -> Space:
    """The space a name in `spaces/`, a YAML file or a mapping describes.

    Args:
        reference: name, path or mapping.

    Raises:
        ConfigError: unreadable, a wrong key, type or value, with the path of the key.
        UnknownNameError: no space of that name.
    """
    return read_space(reference).build()
