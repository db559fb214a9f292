"""`mpsearch schema`: the JSON schema of a kind of YAML file, for editors."""

from __future__ import annotations

import click

__all__ = ["schema"]


@click.command(
    short_help="Print the JSON schema of a kind of file.",
    epilog="Save it beside your file, and begin that with: # yaml-language-server: $schema=study.schema.json",
)
@click.argument("kind", type=click.Choice(["study", "space", "hardware"]))
def schema(kind: str) -> None:
    """Print the schema of study, space or hardware files, by which an editor completes and checks them."""
    from mpsearch.config.schema import schema_text

    click.echo(schema_text(kind), nl=False)
