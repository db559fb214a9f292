"""`mpsearch doctor`: whether this machine is ready, and what to do if it is not."""

from __future__ import annotations

import click

from mpsearch.cli.options import consoles

__all__ = ["doctor"]

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command(short_help="Check this machine, with a cure for what fails.")
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check Python, torch and torchvision, device, compiler, disk and storage, with a cure for what fails."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from mpsearch.doctor import examine

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "check", "found", "cure"):
        table.add_column(column)
    checks = examine()
    for check in checks:
        table.add_row(f"[{_STYLES[check.status]}]{check.status}[/]", check.name, escape(check.found), escape(check.cure))
    consoles()[0].print(table)
    context.exit(1 if any(check.status == "fail" for check in checks) else 0)
