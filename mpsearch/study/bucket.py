"""`Bucket`: files in an S3 bucket, for workers that share no disk.

Credentials, region and the endpoint of another server than Amazon's come from where boto3 looks for them: `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, `~/.aws`, the role of the machine. None stands in a URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.artifacts import Boto3ArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from mpsearch.core.errors import ConfigError
from mpsearch.core.extras import needs
from mpsearch.core.url import without_password

__all__ = ["S3", "Bucket"]

S3 = "s3://"
_PLACE = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[\w./=+-]*))?", re.ASCII)
_CONNECT, _READ, _ATTEMPTS = 10, 60, 3
"""Seconds, seconds, tries."""


class Bucket:
    """The objects of a bucket under a prefix.

    Args:
        url: `s3://BUCKET/PREFIX`.

    Raises:
        ConfigError: it is no such URL, boto3 is not installed, or it finds its own settings wrong.
    """

    def __init__(self, url: str) -> None:
        if (found := _PLACE.fullmatch(url)) is None:
            raise ConfigError(
                f"artifacts: '{without_password(url)}' is no bucket; write it as s3://bucket/prefix, "
                "and leave credentials to AWS_… or ~/.aws"
            )
        needs(f"artifacts in {url}", "s3", "boto3")
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        prefix = (found["prefix"] or "").strip("/")
        self._name, self._prefix = found["bucket"], f"{prefix}/" if prefix else ""
        settings = Config(connect_timeout=_CONNECT, read_timeout=_READ, retries={"mode": "standard", "total_max_attempts": _ATTEMPTS})
        try:
            self._client = boto3.session.Session().client("s3", config=settings)
        except (BotoCoreError, ValueError) as error:  # a profile or an endpoint that is none
            raise ConfigError(f"artifacts: {url} cannot be reached ({error}); see what AWS_… and ~/.aws say") from error
        self._store = Boto3ArtifactStore(self._name, self._client, avoid_buf_copy=True)

    def read(self, name: str) -> bytes | None:
        """The bytes of an object; None if there is none.

        Raises:
            OSError: the bucket cannot be read.
        """
        with _as_os_errors():
            try:
                with self._store.open_reader(self._prefix + name) as body:
                    return body.read()
            except ArtifactNotFound:
                return None

    def write(self, name: str, path: Path) -> None:
        """Put a file into the bucket; others see all of it or nothing.

        Raises:
            OSError: the bucket cannot be written.
        """
        with _as_os_errors(), path.open("rb") as content:
            self._store.write(self._prefix + name, content)

    def remove(self, name: str) -> int:
        """Remove an object; returns its bytes.

        Raises:
            OSError: there is none, or the bucket cannot be written.
        """
        with _as_os_errors():
            size = int(self._client.head_object(Bucket=self._name, Key=self._prefix + name)["ContentLength"])
            self._store.remove(self._prefix + name)
        return size

    def names(self) -> set[str]:
        """The objects under the prefix, those in folders below it left out.

        Raises:
            OSError: the bucket cannot be read.
        """
        with _as_os_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=self._prefix, Delimiter="/")
            return {each["Key"].removeprefix(self._prefix) for page in pages for each in page.get("Contents", ())}


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn what boto3 raises into what a disk would.

    Raises:
        OSError: with what the server or boto3 says.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        raise OSError(f"{said.get('Code', 'error')}: {said.get('Message') or 'no reason given'}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise OSError(str(error)) from error
