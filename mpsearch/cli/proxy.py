"""`mpsearch proxy`: one process between a database and many workers."""

from __future__ import annotations

import click

from mpsearch.core.errors import ConfigError
from mpsearch.core.url import without_password

__all__ = ["proxy"]

_VARIABLE = "MPSEARCH_STORAGE"


@click.command(short_help="Stand between a database and hundreds of workers.")
@click.option(
    "--storage", metavar="URL", envvar=_VARIABLE, help=f"The database: postgresql://… or mysql://…; ${_VARIABLE} hides a password."
)
@click.option(
    "--host", default="localhost", show_default=True, help="Interface to listen on; there is no password, so think of who reaches it."
)
@click.option("--port", type=click.IntRange(1, 65535), default=13000, show_default=True, help="Workers say --storage grpc://HOST:PORT.")
@click.option(
    "--threads", type=click.IntRange(1), default=32, show_default=True, help="Requests, and connections to the database, at a time."
)
def proxy(storage: str | None, host: str, port: int, threads: int) -> None:
    """Run Optuna's gRPC proxy before a database, until told to end.

    Workers then need neither the database's driver nor its password, and share its connections.
    """
    if storage is None:
        raise ConfigError(f"--storage URL is needed, that of the database, or the variable {_VARIABLE}")
    if not storage.startswith(("postgresql", "mysql", "mariadb")):
        raise ConfigError(f"proxy: '{without_password(storage)}' is no database server; give postgresql://… or mysql://…", path="storage")

    from mpsearch.study.grpc_proxy import serve_proxy
    from mpsearch.study.storage import open_storage

    database = open_storage(storage, connections=threads)
    click.echo(f"serving {without_password(storage)} as grpc://{host}:{port}", err=True)
    serve_proxy(database, host, port, threads)
