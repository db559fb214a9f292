"""Real servers for the tests of storages: MariaDB, where Debian's package is installed, and Optuna's gRPC proxy in a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[1]
PASSWORD = "s3cret/with@signs"


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"]))
    if found is None:
        pytest.skip(f"there is no {name} here; Debian has it in mariadb-server")
    return found


@contextmanager
def mariadb(folder: Path) -> Iterator[Callable[[], str]]:
    """A server behind a socket, without a port; each call gives the URL of a new database, of a user with a password."""
    pymysql = pytest.importorskip("pymysql", reason="the extra mysql is not installed")
    server, install = _program("mariadbd"), _program("mariadb-install-db")
    data, place = folder / "data", folder / "s"
    user = ["--user=root"] if os.getuid() == 0 else []
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    made = ["--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db", *user]
    subprocess.run([install, *made], check=True, timeout=120, **quiet)  # type: ignore[call-overload]
    command = [server, "--no-defaults", f"--datadir={data}", f"--socket={place}", "--skip-networking", "--innodb-flush-log-at-trx-commit=2"]
    process = subprocess.Popen([*command, *user], **quiet)  # type: ignore[call-overload]
    numbers = count()

    def told(*statements: str) -> None:
        with pymysql.connect(unix_socket=str(place), user="root") as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def new() -> str:
        name = f"database{next(numbers)}"
        told(f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO me@localhost")
        return f"mysql://me:s3cret%2Fwith%40signs@localhost/{name}?unix_socket={place}"

    try:
        _until(place.exists, process)
        told(f"CREATE USER me@localhost IDENTIFIED BY '{PASSWORD}'")
        yield new
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def s3() -> Iterator[str]:
    """A server of S3 in a thread; gives its endpoint."""
    reason = "moto, a server of S3, is not installed"
    server = pytest.importorskip("moto.server", reason=reason, exc_type=ImportError).ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def proxy(url: str, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`mpsearch proxy` before a database; gives the URL for workers."""
    pytest.importorskip("grpc", reason="the extra grpc is not installed")
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "mpsearch", "proxy", "--port", str(port), *options]
    environment = {**os.environ, "PYTHONPATH": str(PLACE), "MPSEARCH_STORAGE": url}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving "), line
        yield f"grpc://localhost:{port}", process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline
        time.sleep(0.05)
