"""Optuna's gRPC proxy: one process before a database, so that hundreds of workers need no connection to it each.

`grpc://HOST:PORT` is the URL of a proxy. It has neither password nor encryption: it belongs on a network that others do not reach.
"""

from __future__ import annotations

import socket
import sys
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy, get_storage, run_grpc_proxy_server

from mpsearch.core.errors import ConfigError
from mpsearch.core.extras import needs

if TYPE_CHECKING:
    from grpc import RpcError

__all__ = ["GRPC", "PORT", "open_proxy", "proxy_faults", "reason_of", "serve_proxy"]

GRPC = "grpc://"
PORT = 13000
"""That of Optuna."""
_PATIENCE = 10.0
"""Seconds until a proxy counts as out of reach."""


def open_proxy(url: str) -> BaseStorage:
    """The storage behind a proxy.

    Args:
        url: `grpc://HOST:PORT`; the port is 13000 if left out.

    Raises:
        ConfigError: the packages of gRPC are missing.
        ValueError: it is no such URL.
        ConnectionError: nobody answers there.
    """
    needs("a storage behind a gRPC proxy", "grpc", "grpc", "google.protobuf")
    parts = urlsplit(url)
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise ValueError("the URL of a proxy is grpc://HOST:PORT, without user or database")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # that Optuna may change it does not help whoever runs a study
        storage = GrpcStorageProxy(host=host, port=PORT if parts.port is None else parts.port)
    try:
        storage.wait_server_ready(_PATIENCE)
    except ConnectionError as error:
        storage.close()
        raise ConnectionError(f"no proxy answers there within {_PATIENCE:.0f} s") from error
    weakref.finalize(storage, storage._channel.close)
    return storage


def serve_proxy(storage: BaseStorage, host: str, port: int, threads: int) -> None:
    """Serve a storage until the process is told to end.

    Args:
        storage: of a database server.
        host: interface to listen on.
        port: of the proxy.
        threads: requests at a time; others wait.

    Raises:
        ConfigError: the packages of gRPC are missing, or the port cannot be had.
    """
    needs("a gRPC proxy", "grpc", "grpc", "google.protobuf")
    try:
        _check_free(host, port)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            run_grpc_proxy_server(get_storage(storage), host=host, port=port, thread_pool=ThreadPoolExecutor(threads))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"proxy: {host}:{port} cannot be listened on ({error}); give another --port or --host") from error


def _check_free(host: str, port: int) -> None:
    """Check that nobody listens on a port: gRPC would share it in silence, and workers would meet one of two databases.

    Raises:
        OSError: it is taken, or there is no such interface.
    """
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        with socket.create_server(address[:2], family=family):
            pass


def proxy_faults() -> tuple[type[Exception], ...]:
    """What calls of a proxy raise; nothing where gRPC was not loaded."""
    grpc = sys.modules.get("grpc")
    return () if grpc is None else (grpc.RpcError,)


def reason_of(error: RpcError) -> str:
    """Why a call of a proxy failed, in a few words."""
    code, details = getattr(error, "code", lambda: None)(), getattr(error, "details", lambda: None)()
    return f"the proxy says {'' if code is None else code.name.lower().replace('_', ' ')}: {details or type(error).__name__}"
