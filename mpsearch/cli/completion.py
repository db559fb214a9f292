"""`mpsearch completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

_SHELLS = ("bash", "zsh", "fish")
_INSTALL = {
    "bash": 'eval "$(mpsearch completion bash)"',
    "zsh": 'eval "$(mpsearch completion zsh)"',
    "fish": "mpsearch completion fish | source",
}


@click.command(
    short_help="Print the completion script of a shell.",
    epilog=f"In ~/.bashrc: {_INSTALL['bash']}; in ~/.zshrc: {_INSTALL['zsh']}; in ~/.config/fish/config.fish: {_INSTALL['fish']}",
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which bash, zsh or fish completes mpsearch."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}; update click")
    script = kind(context.find_root().command, {}, "mpsearch", "_MPSEARCH_COMPLETE")
    click.echo(script.source_template % script.source_vars())  # `source()` would first ask the bash of this machine for its version
