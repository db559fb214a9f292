"""`mpsearch list`: methods, signals, costs, models, data and files to choose from, with their papers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

from mpsearch.cli.options import consoles
from mpsearch.core.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from mpsearch.core.registry import Registry

__all__ = ["list_known"]

REGISTRIES = ("methods", "signals", "costs", "targets", "handovers", "models", "data", "loggers")
"""Packages of mpsearch, each with a registry of the same name in capitals."""
FOLDERS = ("studies", "spaces", "hardware")


@click.command("list", short_help="What there is to choose from, with papers.")
@click.argument("kinds", nargs=-1, type=click.Choice([*REGISTRIES, *FOLDERS]), metavar="[KIND]...")
def list_known(kinds: tuple[str, ...]) -> None:
    """Show methods, signals, costs, targets, hand-over formats, models, data, loggers and shipped files; KIND shows only some."""
    console, errors = consoles()
    for kind in kinds or (*REGISTRIES, *FOLDERS):
        if kind not in REGISTRIES:
            console.print(_files(kind))
            continue
        registry = _registry(kind)
        console.print(_plugins(kind, registry))
        for line in registry.broken():
            errors.print(_shown(line), soft_wrap=True)


def _registry(kind: str) -> Registry[object]:
    registry: Registry[object] = getattr(importlib.import_module(f"mpsearch.{kind}"), kind.upper())
    return registry


def _plugins(kind: str, registry: Registry[object]) -> Table:
    table = _table(kind, "what it is", "paper")
    for name, member in registry.items():
        table.add_row(_shown(name), _shown(_told(member, "description") or _first_line(member)), _shown(_told(member, "paper")))
    return table


def _files(kind: str) -> Table:
    from mpsearch.config.shipped import find_yaml, shipped_names
    from mpsearch.config.yaml_file import read_yaml

    table = _table(kind, "what it is", "file")
    for name in shipped_names(kind):
        path = find_yaml(kind, kind, name)
        table.add_row(_shown(name), _shown(str(read_yaml(path).get("description", ""))), _shown(str(path)))
    return table


def _table(kind: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=kind, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("name", style="bold", no_wrap=True)
    for column in columns:
        table.add_column(column)
    return table


def _shown(text: str) -> str:
    """Text from outside: neither markup of rich nor commands to the terminal."""
    from rich.markup import escape

    return escape(printable(text))


def _told(member: object, attribute: str) -> str:
    value = getattr(member, attribute, "")
    return value if isinstance(value, str) else ""


def _first_line(member: object) -> str:
    return (member.__doc__ or "").strip().partition("\n")[0]
